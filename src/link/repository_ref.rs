//! The repository as the caller wrote it: every address form that people paste.
//!
//! First the syntax ([`Address`]): scheme, user, host and the parts of the path. Then, in `paths`, what the parts mean
//! at each provider. Neither asks anybody; which provider a host belongs to is the operator's configuration.

mod paths;

use percent_encoding::percent_decode_str;
use url::{ParseError, Url};

/// Longest address that is read, in bytes.
const ADDRESS_MAX: usize = 2048;

/// A repository named by host and path; not yet looked up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RepositoryRef {
    /// Main host of the provider's instance.
    pub host: String,
    /// Path in the provider's own form, e.g. `acme/docs`, `group/subgroup/docs`, `organisation/project/repository`.
    pub path: String,
}

/// What a provider takes an address for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryPath {
    /// Owner and name, or however many parts the provider's repositories have, joined by slashes and not encoded.
    pub path: String,
    /// Branch that the pasted page showed. A hint and no more: in `/tree/feature/x/dir` nobody can tell the branch from
    /// the folder, and people paste what they happen to look at.
    pub branch_hint: Option<String>,
}

/// An address taken apart; what its parts mean depends on the provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Lower-case host, with the port of a web address where it has one.
    pub host: String,
    /// What only an SSH address has; `None`: a web address.
    pub ssh: Option<Ssh>,
    /// The path's parts, decoded once, without empty ones.
    parts: Vec<String>,
    /// Branch that the query names, as Azure DevOps does.
    version: Option<String>,
}

/// What only an SSH address has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ssh {
    /// Who logs in; `git` where nobody is named.
    pub user: String,
    /// The address as git takes it; for hosts without an API it is all that is known of the repository.
    pub url: String,
}

/// Why an address is not understood. The texts never repeat the address: it may hold a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RefError {
    /// Nothing but white space.
    #[error("name a repository, e.g. https://github.com/acme/docs")]
    Empty,
    /// Longer than any real address.
    #[error(
        "the address is longer than {ADDRESS_MAX} bytes; leave out what follows the repository's name"
    )]
    TooLong,
    /// A line break or the like.
    #[error("the address holds a line break or another control character; paste it again without")]
    ControlCharacter,
    /// A password or token stands before the host or in the query.
    #[error(
        "the address holds a password or token; remove it: credentials belong into a connection (and this one should be revoked)"
    )]
    CredentialsInUrl,
    /// Neither a URL nor the `user@host:path` form.
    #[error(
        "not a repository address; write https://HOST/OWNER/NAME, git@HOST:OWNER/NAME.git or ssh://git@HOST/OWNER/NAME.git"
    )]
    NotAnAddress,
    /// `OWNER/NAME` alone.
    #[error(
        "the host is missing; write it before owner and name, e.g. https://github.com/acme/docs"
    )]
    HostMissing,
    /// A scheme that git over SSH or the web does not use.
    #[error("the scheme is not supported; use https:// or ssh://")]
    Scheme,
    /// Escapes that are not text.
    #[error(
        "the path's `%` escapes are not UTF-8 text; paste the address as the browser or the clone box shows it"
    )]
    BadEscape,
    /// The path has too few parts, or not those that the provider's addresses have.
    #[error("the address does not name a repository; here it has to look like {0}")]
    NoRepository(&'static str),
    /// An SSH address with more parts than the provider's repositories have.
    #[error(
        "the SSH address goes on after the repository's name; here it has to look like {0} (a port is written ssh://git@HOST:PORT/…)"
    )]
    Surplus(&'static str),
    /// Characters that the provider allows in no name.
    #[error("the {part} cannot be `.` or `..` or hold {character:?}; allowed are {allowed}")]
    BadPart {
        /// Which part of the path.
        part: &'static str,
        /// The first character that is not allowed.
        character: char,
        /// What is.
        allowed: &'static str,
    },
    /// A web address where only SSH is known to work.
    #[error(
        "write the SSH address of the repository (ssh://git@HOST/PATH.git or git@HOST:PATH.git): Netlify clones over SSH"
    )]
    SshNeeded,
    /// A host that the operator has not configured.
    #[error(
        "no provider is configured for this host; known are {0}. A repository elsewhere is named by its SSH address"
    )]
    UnknownHost(String),
    /// A provider that this version cannot link.
    #[error("repositories at {0} cannot be linked by this version")]
    NotLinkable(String),
}

impl Address {
    /// Takes an address in any form of `docs/api.md`, "Repository addresses", apart.
    ///
    /// # Errors
    /// Says which part is not understood.
    pub fn parse(text: &str) -> Result<Self, RefError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(RefError::Empty);
        }
        if text.len() > ADDRESS_MAX {
            return Err(RefError::TooLong);
        }
        if text.contains(char::is_control) {
            return Err(RefError::ControlCharacter);
        }
        if let Some((_, rest)) = text.split_once("://") {
            return from_url(text, rest);
        }
        match text.split_once(':') {
            Some((before, _)) if !before.contains('/') => from_scp(text),
            _ => from_bare(text),
        }
    }

    /// Whether it is an SSH address.
    pub fn is_ssh(&self) -> bool {
        self.ssh.is_some()
    }
}

fn from_url(text: &str, rest: &str) -> Result<Address, RefError> {
    let text = text.strip_prefix("git+").unwrap_or(text);
    let url = match Url::parse(text) {
        // `ssh://git@host:owner/name`, as package files write it: what follows the colon is no port.
        Err(ParseError::InvalidPort) if text.starts_with("ssh://") => return from_scp(rest),
        parsed => parsed.map_err(|_| RefError::NotAnAddress)?,
    };
    let host = url.host_str().unwrap_or_default();
    let is_ssh = url.scheme() == "ssh";
    if !is_ssh && !matches!(url.scheme(), "https" | "http") {
        return Err(RefError::Scheme);
    }
    refuse_credentials(&url)?;
    let web_port = url.port().filter(|_| !is_ssh);
    let mut address = address(host, url.path())?;
    // A port of the web address is part of the instance's name; SSH's is not.
    address.host.extend(web_port.map(|port| format!(":{port}")));
    address.version = version(&url);
    address.ssh = match is_ssh {
        true => Some(Ssh {
            user: login(&decoded(url.username())?).to_owned(),
            url: text.to_owned(),
        }),
        false => None,
    };
    Ok(address)
}

fn from_scp(text: &str) -> Result<Address, RefError> {
    let (before, path) = text.split_once(':').ok_or(RefError::NotAnAddress)?;
    let (user, host) = before.rsplit_once('@').unwrap_or(("", before));
    // `user:token@host…` splits at the first colon, which leaves the token before an `@` of the path.
    let first = path.split('/').next().unwrap_or_default();
    if first.contains('@') || looks_like_token(user) {
        return Err(RefError::CredentialsInUrl);
    }
    if before.contains('/') || host.contains(['[', ']', '\\', ' ']) {
        return Err(RefError::NotAnAddress);
    }
    let path = path.split(['#', '?']).next().unwrap_or_default();
    let mut address = address(host, path)?;
    let user = login(user);
    address.ssh = Some(Ssh {
        user: user.to_owned(),
        url: format!("{user}@{host}:{path}"),
    });
    Ok(address)
}

/// `github.com/acme/docs`, as browsers show it: the first part has to look like a host.
fn from_bare(text: &str) -> Result<Address, RefError> {
    let host = text.split('/').next().unwrap_or_default();
    if host.starts_with('.') || host.is_empty() || !text.contains('/') {
        return Err(RefError::NotAnAddress);
    }
    if !host.contains('.') {
        return Err(RefError::HostMissing);
    }
    from_url(&format!("https://{text}"), text)
}

fn address(host: &str, path: &str) -> Result<Address, RefError> {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    if host.is_empty() {
        return Err(RefError::NotAnAddress);
    }
    let parts = path.split('/').filter(|part| !part.is_empty());
    Ok(Address {
        host,
        ssh: None,
        parts: parts.map(decoded).collect::<Result<_, _>>()?,
        version: None,
    })
}

/// Decoded once: what is encoded twice keeps its `%`, which no provider allows in a name.
fn decoded(part: &str) -> Result<String, RefError> {
    let text = percent_decode_str(part).decode_utf8();
    let text = text.map_err(|_| RefError::BadEscape)?;
    match text.contains(char::is_control) {
        true => Err(RefError::ControlCharacter),
        false => Ok(text.into_owned()),
    }
}

fn login(user: &str) -> &str {
    if user.is_empty() { "git" } else { user }
}

/// `?version=GBmain`: `GB` is a branch; tags (`GT`) and commits (`GC`) are none.
fn version(url: &Url) -> Option<String> {
    let mut pairs = url.query_pairs();
    let (_, version) = pairs.find(|(name, _)| name == "version")?;
    let branch = version.strip_prefix("GB").filter(|name| !name.is_empty())?;
    Some(branch.to_owned())
}

fn refuse_credentials(url: &Url) -> Result<(), RefError> {
    let in_query = url
        .query_pairs()
        .any(|(name, _)| name.contains("token") || name.contains("password"));
    match url.password().is_some() || looks_like_token(url.username()) || in_query {
        true => Err(RefError::CredentialsInUrl),
        false => Ok(()),
    }
}

/// Clone boxes show a user name before the host, which is fine; a token there is not.
fn looks_like_token(user: &str) -> bool {
    const PREFIXES: [&str; 14] = [
        "ghp_",
        "gho_",
        "ghu_",
        "ghs_",
        "ghr_",
        "github_pat_",
        "glpat-",
        "gldt-",
        "glptt-",
        "nfp_",
        "ATATT",
        "ATCTT",
        "ATBB",
        "AZDO",
    ];
    // Users that stand before a token, never before anything else.
    const COMPANIONS: [&str; 5] = [
        "x-access-token",
        "x-token-auth",
        "x-bitbucket-api-token-auth",
        "oauth2",
        "gitlab-ci-token",
    ];
    let is_hex = user.bytes().all(|byte| byte.is_ascii_hexdigit());
    // The longest names are those of Azure's organisations, with 50 characters.
    user.len() > 50
        || (user.len() == 40 && is_hex)
        || COMPANIONS.contains(&user)
        || PREFIXES.iter().any(|prefix| user.starts_with(prefix))
}
