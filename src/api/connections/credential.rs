//! A credential as callers send it, and whether its form can be right.

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::{
    api::problem::{Problem, ProblemCode},
    link::{
        access::INSTALLATION_MAX,
        request::{CONNECTION_NAME_RULE, is_connection_name},
    },
    upstream::{Credential, GithubApp, UpstreamKind},
};

const USER_MAX: usize = 320;
const SECRET_MAX: usize = 4096;
const PRIVATE_KEY_MAX: usize = 16_384;

/// A secret that opens an upstream; write-only.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum NewCredential {
    /// None: public repositories can be read, and people do what needs rights.
    #[schema(title = "NoCredential")]
    Anonymous {},
    /// A personal, project or installation access token; Bitbucket: of a repository, project or workspace; Azure DevOps: of
    /// Microsoft Entra.
    #[schema(title = "TokenCredential")]
    Token {
        /// The token.
        #[schema(value_type = String, write_only, pattern = "^[!-~]{1,4096}$")]
        token: SecretString,
    },
    /// A user name and a token: a Bitbucket API token with the account's e-mail address; an Azure DevOps personal access
    /// token with the organisation's name, or none.
    #[schema(title = "BasicCredential")]
    Basic {
        /// User name or e-mail address; may be empty.
        #[schema(max_length = 320, pattern = r"^[^:\x00-\x1f\x7f-\x9f]*$")]
        user: String,
        /// Token or password.
        #[schema(value_type = String, write_only, pattern = "^[!-~]{1,4096}$")]
        secret: SecretString,
    },
    /// A GitHub App of the tenant's own: keys and webhooks made with it outlive every personal token. It needs the
    /// repository permissions Administration (write), Webhooks (write) and Contents (read).
    #[schema(title = "GithubAppCredential")]
    GithubApp {
        /// The app's id, or its client id.
        #[schema(pattern = "^[A-Za-z0-9._-]{1,100}$", example = "123456")]
        app_id: String,
        /// The private key that GitHub made for the app: RSA, PEM.
        #[schema(value_type = String, write_only, max_length = 16384)]
        private_key: SecretString,
        /// The installation to use. Default: the one on the repository's owner.
        #[serde(default)]
        #[schema(minimum = 1, maximum = 9_007_199_254_740_991_u64)]
        installation_id: Option<u64>,
    },
}

/// A field that is wrong, and what would be right.
type Wrong = (&'static str, &'static str);

impl NewCredential {
    /// The credential, once its form is right for this vendor. A secret that no call could carry would fail much later
    /// and less clearly.
    ///
    /// # Errors
    /// `invalid_request`; `pointer` is where the credential stands in the body.
    pub(super) fn checked(self, kind: UpstreamKind, pointer: &str) -> Result<Credential, Problem> {
        let credential = Credential::from(self);
        let wrong = misform(&credential).or_else(|| credential.misfit(kind));
        match wrong {
            None => Ok(credential),
            Some((field, rule)) => {
                let problem = Problem::new(ProblemCode::InvalidRequest);
                Err(problem.error(format!("{pointer}/{field}"), rule))
            }
        }
    }
}

impl From<NewCredential> for Credential {
    fn from(new: NewCredential) -> Self {
        match new {
            NewCredential::Anonymous {} => Self::Anonymous,
            NewCredential::Token { token } => Self::Token(token),
            NewCredential::Basic { user, secret } => Self::Basic { user, secret },
            NewCredential::GithubApp {
                app_id,
                private_key,
                installation_id,
            } => Self::GithubApp(GithubApp {
                app_id,
                private_key,
                installation_id,
            }),
        }
    }
}

/// What is wrong with its form, whatever the vendor.
fn misform(credential: &Credential) -> Option<Wrong> {
    match credential {
        Credential::Anonymous => None,
        Credential::Token(token) => bad_secret("token", token),
        Credential::Basic { user, secret } => {
            bad_user(user).or_else(|| bad_secret("secret", secret))
        }
        Credential::GithubApp(app) => bad_app(app),
    }
}

fn bad_secret(field: &'static str, secret: &SecretString) -> Option<Wrong> {
    let text = secret.expose_secret();
    let fits =
        (1..=SECRET_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    let rule = "use 1 to 4096 visible ASCII characters, without blanks or line breaks";
    (!fits).then_some((field, rule))
}

fn bad_user(user: &str) -> Option<Wrong> {
    let fits = user.len() <= USER_MAX && !user.contains(|c: char| c.is_control() || c == ':');
    let rule = "use a user name of at most 320 bytes without ':' and control characters";
    (!fits).then_some(("user", rule))
}

fn bad_app(app: &GithubApp) -> Option<Wrong> {
    let is_key = app.private_key.expose_secret().len() <= PRIVATE_KEY_MAX
        && GithubApp::is_private_key(&app.private_key);
    let is_installation = |id| (1..=INSTALLATION_MAX).contains(&id);
    if !is_connection_name(&app.app_id) {
        Some(("app_id", CONNECTION_NAME_RULE))
    } else if !is_key {
        let rule = "use the RSA private key (PEM) that GitHub made for the app";
        Some(("private_key", rule))
    } else if !app.installation_id.is_none_or(is_installation) {
        let rule = "use the number at the end of the installation's address";
        Some(("installation_id", rule))
    } else {
        None
    }
}
