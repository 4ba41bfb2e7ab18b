//! The repository as the caller wrote it: every address form that people paste, read into host and path.

use url::Url;

/// A repository named by host and path; not yet looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryRef {
    /// Lower-case host as written, with SSH's own hosts (`ssh.github.com`) as they are.
    pub host: String,
    /// Path without leading slash and `.git`, web tails cut off, e.g. `acme/docs`.
    pub path: String,
}

/// Why an address is not understood. The texts never repeat the address: it may hold a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RefError {
    /// Nothing but white space.
    #[error("name a repository, e.g. https://github.com/acme/docs")]
    Empty,
    /// A password or token stands before the host.
    #[error(
        "the address holds a password; remove it: credentials belong into a connection (and this one should be revoked)"
    )]
    CredentialsInUrl,
    /// Neither a URL nor the `user@host:path` form.
    #[error(
        "not a repository address; write https://HOST/OWNER/NAME, git@HOST:OWNER/NAME.git or ssh://git@HOST/OWNER/NAME.git"
    )]
    NotAnAddress,
    /// A scheme that git over SSH or the web does not use.
    #[error("the scheme is not supported; use https:// or ssh://")]
    Scheme,
    /// Owner or name is missing.
    #[error("the address does not name a repository: owner and name are needed after the host")]
    NoRepository,
    /// Characters that no provider allows in a path.
    #[error("owner and name may hold letters, digits, '.', '_' and '-' only")]
    BadPath,
}

impl RepositoryRef {
    /// Reads an address in any form of `docs/api.md`, "Repository addresses".
    ///
    /// # Errors
    /// Says which part is not understood.
    pub fn parse(text: &str) -> Result<Self, RefError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(RefError::Empty);
        }
        match text.contains("://") {
            true => from_url(text),
            false => from_scp(text),
        }
    }

    /// Owner and name, for providers whose repositories have exactly these two parts.
    ///
    /// # Errors
    /// When there are fewer parts, or characters that no provider allows.
    pub fn owner_and_name(&self) -> Result<String, RefError> {
        let path = self.path.strip_prefix("repos/").unwrap_or(&self.path);
        let mut parts = path.split('/').filter(|part| !part.is_empty());
        let (Some(owner), Some(name)) = (parts.next(), parts.next()) else {
            return Err(RefError::NoRepository);
        };
        let name = name.strip_suffix(".git").unwrap_or(name);
        if !is_plain(owner) || !is_plain(name) {
            return Err(RefError::BadPath);
        }
        Ok(format!("{owner}/{name}"))
    }
}

fn from_url(text: &str) -> Result<RepositoryRef, RefError> {
    let text = text.strip_prefix("git+").unwrap_or(text);
    let url = Url::parse(text).map_err(|_| RefError::NotAnAddress)?;
    if url.password().is_some() {
        return Err(RefError::CredentialsInUrl);
    }
    let user_is_login = url.scheme() == "ssh" || url.username().is_empty();
    if !user_is_login && looks_like_token(url.username()) {
        return Err(RefError::CredentialsInUrl);
    }
    if !matches!(url.scheme(), "https" | "http" | "ssh") {
        return Err(RefError::Scheme);
    }
    let host = url.host_str().ok_or(RefError::NotAnAddress)?;
    let port = match url.port() {
        // A port of the web address is part of the instance's name; SSH's is not.
        Some(port) if url.scheme() != "ssh" => format!(":{port}"),
        _ => String::new(),
    };
    build(&format!("{host}{port}"), url.path())
}

fn from_scp(text: &str) -> Result<RepositoryRef, RefError> {
    let (before, path) = text.split_once(':').ok_or(RefError::NotAnAddress)?;
    let (user, host) = before.rsplit_once('@').unwrap_or(("git", before));
    if user.contains('/') || host.contains('/') || host.is_empty() {
        return Err(RefError::NotAnAddress);
    }
    // `user:token@host…` splits at the first colon, which leaves the token in the path.
    if path.contains('@') || looks_like_token(user) {
        return Err(RefError::CredentialsInUrl);
    }
    build(host, path)
}

fn build(host: &str, path: &str) -> Result<RepositoryRef, RefError> {
    let path = path.trim_matches('/');
    let path = path.strip_suffix(".git").unwrap_or(path);
    let host = host.trim_end_matches('.');
    if host.is_empty() {
        return Err(RefError::NotAnAddress);
    }
    if path.is_empty() {
        return Err(RefError::NoRepository);
    }
    Ok(RepositoryRef {
        host: host.to_ascii_lowercase(),
        path: path.to_owned(),
    })
}

/// Clone boxes show a user name before the host, which is fine; a token there is not.
fn looks_like_token(user: &str) -> bool {
    const PREFIXES: [&str; 7] = [
        "ghp_",
        "gho_",
        "ghu_",
        "ghs_",
        "github_pat_",
        "glpat-",
        "nfp_",
    ];
    user == "x-access-token"
        || user.len() > 39
        || PREFIXES.iter().any(|prefix| user.starts_with(prefix))
}

fn is_plain(part: &str) -> bool {
    part != "."
        && part != ".."
        && part
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_form_of_a_github_address() {
        let forms = [
            "https://github.com/acme/docs",
            "  https://github.com/acme/docs/  ",
            "http://github.com/acme/docs.git",
            "https://GitHub.com/acme/docs",
            "https://someone@github.com/acme/docs.git",
            "git+https://github.com/acme/docs.git",
            "git+ssh://git@github.com/acme/docs.git",
            "ssh://git@github.com/acme/docs.git",
            "ssh://git@github.com:22/acme/docs",
            "git@github.com:acme/docs.git",
            "github.com:acme/docs",
            "https://github.com/acme/docs/tree/feature/x",
            "https://github.com/acme/docs/pull/12",
            "https://github.com/acme/docs?tab=readme#top",
        ];
        for form in forms {
            let parsed =
                RepositoryRef::parse(form).unwrap_or_else(|error| panic!("{form}: {error}"));
            assert_eq!(parsed.host, "github.com", "{form}");
            assert_eq!(
                parsed.owner_and_name().as_deref(),
                Ok("acme/docs"),
                "{form}"
            );
        }
    }

    #[test]
    fn refuses_what_is_no_repository_and_never_repeats_it() {
        let cases = [
            ("", RefError::Empty),
            ("docs", RefError::NotAnAddress),
            ("https://", RefError::NotAnAddress),
            ("https://../acme/docs", RefError::NotAnAddress),
            ("ftp://github.com/acme/docs", RefError::Scheme),
            ("https://github.com/", RefError::NoRepository),
            (
                "https://me:hunter2@github.com/acme/docs",
                RefError::CredentialsInUrl,
            ),
            (
                "https://ghp_0123456789@github.com/acme/docs",
                RefError::CredentialsInUrl,
            ),
            (
                "me:hunter2@github.com/acme/docs",
                RefError::CredentialsInUrl,
            ),
        ];
        for (form, expected) in cases {
            let error = RepositoryRef::parse(form).expect_err(form);
            assert_eq!(error, expected, "{form}");
            assert!(!error.to_string().contains("hunter2"));
        }
        let owner_only = RepositoryRef::parse("https://github.com/acme").expect("an address");
        assert_eq!(owner_only.owner_and_name(), Err(RefError::NoRepository));
        let odd = RepositoryRef::parse("https://github.com/ac me/do;cs").expect("an address");
        assert_eq!(odd.owner_and_name(), Err(RefError::BadPath));
    }

    #[test]
    fn keeps_dots_in_names_and_strips_git_once() {
        let dotted =
            RepositoryRef::parse("https://github.com/acme/acme.github.io.git").expect("an address");
        assert_eq!(
            dotted.owner_and_name().as_deref(),
            Ok("acme/acme.github.io")
        );
        let twice = RepositoryRef::parse("https://github.com/acme/x.git.git").expect("an address");
        assert_eq!(twice.path, "acme/x.git");
    }
}
