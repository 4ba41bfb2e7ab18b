//! What a provider can do for a link: the plan is built from it, and what it cannot do a person is asked to do.

/// What can be done at a provider with a connection's credential. Declared, never pretended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// Keys belong to a repository and can be installed by API (Azure's belong to a person, `manual` has no API).
    pub installs_keys: bool,
    /// It can be read whether a key is there, whoever put it there.
    pub finds_keys: bool,
    /// Webhooks can be installed by API.
    pub installs_webhooks: bool,
    /// Netlify wants pushes at an address of the site's own, which is known only once the repository is attached.
    pub site_has_own_webhook: bool,
    /// The provider itself refuses a second webhook with the same address; where not, look before installing.
    pub refuses_double_webhooks: bool,
    /// The last push can be delivered again on request: the proof that pushes build.
    pub replays_pushes: bool,
    /// It can be read how deliveries ended.
    pub reports_deliveries: bool,
}

impl Capabilities {
    /// A git host without an API that we use: a person does the provider's half.
    pub const BY_HAND: Self = Self {
        installs_keys: false,
        finds_keys: false,
        installs_webhooks: false,
        site_has_own_webhook: false,
        refuses_double_webhooks: false,
        replays_pushes: false,
        reports_deliveries: false,
    };
}
