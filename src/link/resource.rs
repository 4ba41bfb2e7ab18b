//! The words of the ledger of external objects.

use super::words::text_enum;

text_enum! {
    /// What kind of external object it is.
    ResourceKind {
        /// Netlify's key pair.
        DeployKey "deploy_key",
        /// Its public half on a repository.
        InstalledKey "installed_key",
        /// The provider's webhook on a repository.
        Webhook "webhook",
        /// A site.
        Site "site",
        /// An environment variable of a site; its name is its id.
        EnvVariable "env_variable",
        /// A hook by which Netlify tells us of a site's deploys.
        Notification "notification",
    }
}

text_enum! {
    /// What became of an object when a link let go of it.
    Receipt {
        /// Removed by us.
        Deleted "deleted",
        /// Somebody else had removed it.
        AlreadyGone "already_gone",
        /// Another link leans on it.
        KeptShared "kept_shared",
        /// It was there before us, or the link goes by another now because somebody has pointed it elsewhere.
        KeptForeign "kept_foreign",
        /// The caller asked to keep it.
        Kept "kept",
        /// An unused deploy key, free for the next link.
        Stock "stock",
        /// It could not be removed; the diagnosis says why and where it is.
        Failed "failed",
    }
}

text_enum! {
    /// Whether a link may remove an object.
    Right {
        /// Made by us, and this link is the last to lean on it.
        Ours "ours",
        /// Another link leans on it.
        Shared "shared",
        /// It was there before us.
        Foreign "foreign",
    }
}
