//! What the parts of an address mean at each provider: where the repository's name ends and a page inside it begins.

use super::{Address, RefError, RepositoryPath};

const OWNER_NAME: &str = "https://HOST/OWNER/NAME or git@HOST:OWNER/NAME.git";
const GROUPS: &str = "https://HOST/GROUP/SUBGROUP/PROJECT or git@HOST:GROUP/SUBGROUP/PROJECT.git";
const WORKSPACE: &str =
    "https://bitbucket.org/WORKSPACE/REPOSITORY or git@bitbucket.org:WORKSPACE/REPOSITORY.git";
const AZURE: &str = "https://dev.azure.com/ORGANISATION/PROJECT/_git/REPOSITORY or git@ssh.dev.azure.com:v3/ORGANISATION/PROJECT/REPOSITORY";
const DATA_CENTER: &str = "ssh://git@HOST:PORT/PATH.git, https://HOST/scm/PROJECT/REPOSITORY.git or https://HOST/projects/PROJECT/repos/REPOSITORY";

/// Groups above a project that GitLab nests at most, and the project.
const GITLAB_DEPTH: usize = 21;
/// No group or project can be called so: addresses of pages from before GitLab wrote `/-/` before them.
/// Source: GitLab's `lib/gitlab/path_regex.rb`, `PROJECT_WILDCARD_ROUTES`.
const GITLAB_PAGES: [&str; 17] = [
    "badges",
    "blame",
    "blob",
    "builds",
    "commits",
    "create",
    "create_dir",
    "edit",
    "files",
    "find_file",
    "new",
    "preview",
    "raw",
    "refs",
    "tree",
    "update",
    "wikis",
];
impl Address {
    /// A repository at GitHub: github.com, GHE.com, GitHub Enterprise Server, also by the API's addresses.
    ///
    /// # Errors
    /// Says which part is missing or odd.
    pub fn github(&self) -> Result<RepositoryPath, RefError> {
        let parts = match self.words()[..] {
            ["api", "v3", "repos", ..] => &self.parts[3..],
            ["repos", ..] if self.host.starts_with("api.") => &self.parts[1..],
            _ => &self.parts,
        };
        let (path, page) = self.owner_and_name(parts)?;
        let branch_hint = below(page, &["tree"]);
        Ok(RepositoryPath { path, branch_hint })
    }

    /// A project at GitLab, whose web addresses begin with `base` (empty, or e.g. `gitlab`).
    ///
    /// # Errors
    /// Says which part is missing or odd.
    pub fn gitlab(&self, base: &str) -> Result<RepositoryPath, RefError> {
        let parts = self.below_base(base, GROUPS)?;
        let end = (1..parts.len()).find(|at| is_gitlab_page(*at, &parts[*at..]));
        let (path, page) = parts.split_at(end.unwrap_or(parts.len()));
        let [groups @ .., _] = path else {
            return Err(RefError::NoRepository(GROUPS));
        };
        if groups.is_empty() || path.len() > GITLAB_DEPTH {
            return Err(RefError::NoRepository(GROUPS));
        }
        for group in groups {
            plain("group", group)?;
        }
        let page = page.strip_prefix(&["-".to_owned()]).unwrap_or(page);
        Ok(RepositoryPath {
            path: format!("{}/{}", groups.join("/"), name(path)?),
            branch_hint: below(page, &["tree"]),
        })
    }

    /// A repository at Gitea or Forgejo, whose web addresses begin with `base`.
    ///
    /// # Errors
    /// Says which part is missing or odd.
    pub fn gitea(&self, base: &str) -> Result<RepositoryPath, RefError> {
        let (path, page) = self.owner_and_name(self.below_base(base, OWNER_NAME)?)?;
        let branch_hint = below(page, &["src", "branch"]);
        Ok(RepositoryPath { path, branch_hint })
    }

    /// A repository at Bitbucket Cloud: `WORKSPACE/REPOSITORY`, each a name or a `{uuid}`.
    ///
    /// # Errors
    /// Says which part is missing or odd.
    pub fn bitbucket(&self) -> Result<RepositoryPath, RefError> {
        let parts = match self.words()[..] {
            ["2.0", "repositories", ..] => &self.parts[2..],
            _ => &self.parts,
        };
        let (workspace, slug, page) = self.two(parts, WORKSPACE)?;
        let slug = without_git(slug);
        for (part, text) in [("workspace", workspace), ("repository", slug)] {
            if !is_uuid(text) {
                plain(part, text)?;
            }
        }
        let page: Vec<_> = page.iter().map(String::as_str).collect();
        let branch_hint = match page[..] {
            // A slash in the name is encoded here, so that the branch is one part.
            ["src", branch, ..] => Some(branch.to_owned()),
            ["branch", ref branch @ ..] if !branch.is_empty() => Some(branch.join("/")),
            _ => None,
        };
        let path = format!("{workspace}/{slug}");
        Ok(RepositoryPath { path, branch_hint })
    }

    /// A repository at Azure DevOps Services: `ORGANISATION/PROJECT/REPOSITORY`.
    ///
    /// # Errors
    /// Says which part is missing or odd.
    pub fn azure_devops(&self) -> Result<RepositoryPath, RefError> {
        let [organisation, project, repository] = match self.is_ssh() {
            true => self.azure_ssh(),
            false => self.azure_web(),
        }
        .ok_or(RefError::NoRepository(AZURE))?;
        let repository = without_git(repository);
        plain("organisation", organisation)?;
        azure_name("project", project)?;
        azure_name("repository", repository)?;
        Ok(RepositoryPath {
            path: format!("{organisation}/{project}/{repository}"),
            branch_hint: self.version.clone(),
        })
    }

    /// `dev.azure.com/ORGANISATION/…` and the older `ORGANISATION.visualstudio.com/…`. Where the project is left
    /// out, it has the repository's name.
    fn azure_web(&self) -> Option<[&str; 3]> {
        let parts = self.words();
        let (organisation, rest) = match self.host.strip_suffix(".visualstudio.com") {
            Some(organisation) => (organisation, &parts[..]),
            None => parts.split_first().map(|(first, rest)| (*first, rest))?,
        };
        let rest = rest.strip_prefix(&["DefaultCollection"]).unwrap_or(rest);
        let (project, repository) = match *rest {
            ["_git", "_full" | "_optimized", name, ..] => (name, name),
            [project, "_git", "_full" | "_optimized", name, ..] => (project, name),
            ["_git", name, ..] => (name, name),
            [project, "_git", name, ..] => (project, name),
            [project, "_apis", "git", "repositories", name, ..] => (project, name),
            _ => return None,
        };
        Some([organisation, project, repository])
    }

    /// `v3/ORGANISATION/PROJECT/REPOSITORY`; and from before `v3` existed, with the organisation as user or host.
    fn azure_ssh(&self) -> Option<[&str; 3]> {
        let parts = self.words();
        if let ["v3", organisation, project, repository] = parts[..] {
            return Some([organisation, project, repository]);
        }
        let by_host = self.host.strip_suffix(".visualstudio.com");
        let organisation = match by_host.filter(|name| *name != "vs-ssh") {
            Some(name) => name,
            None => &self.ssh.as_ref()?.user,
        };
        let rest = parts.strip_prefix(&["DefaultCollection"]).unwrap_or(&parts);
        let (project, repository) = match *rest {
            ["_ssh" | "_git", name] | ["_ssh" | "_git", "_full" | "_optimized", name] => {
                (name, name)
            }
            [project, "_ssh" | "_git", name]
            | [project, "_ssh" | "_git", "_full" | "_optimized", name] => (project, name),
            _ => return None,
        };
        Some([organisation, project, repository])
    }

    /// A repository on a host without an API that we use: an SSH address, whose path is taken as it is; or a web
    /// address of Bitbucket Data Center, whose SSH path follows from it.
    ///
    /// # Errors
    /// [`RefError::SshNeeded`] for other web addresses.
    pub fn manual(&self) -> Result<RepositoryPath, RefError> {
        let parts = self.words();
        let path = match parts[..] {
            _ if self.is_ssh() => parts.join("/"),
            ["scm", project, name] => format!("{project}/{name}"),
            ["projects", project, "repos", name, ..] => format!("{project}/{name}"),
            ["users", user, "repos", name, ..] => format!("~{user}/{name}"),
            _ => return Err(RefError::SshNeeded),
        };
        let path = without_git(&path);
        if path.is_empty() {
            return Err(RefError::NoRepository(DATA_CENTER));
        }
        path.split('/').try_for_each(|part| {
            allowed("path", part, "no blanks, quotes or `%`", is_path_character)
        })?;
        Ok(RepositoryPath {
            path: path.to_owned(),
            branch_hint: None,
        })
    }

    fn words(&self) -> Vec<&str> {
        self.parts.iter().map(String::as_str).collect()
    }

    /// The parts below the address that an instance's web pages begin with; SSH addresses do not have it.
    fn below_base(&self, base: &str, form: &'static str) -> Result<&[String], RefError> {
        let mut rest = &self.parts[..];
        for part in base
            .split('/')
            .filter(|part| !part.is_empty() && !self.is_ssh())
        {
            rest = match rest.split_first() {
                Some((first, rest)) if first == part => rest,
                _ => return Err(RefError::NoRepository(form)),
            };
        }
        Ok(rest)
    }

    fn owner_and_name<'p>(&self, parts: &'p [String]) -> Result<(String, &'p [String]), RefError> {
        let (owner, last, page) = self.two(parts, OWNER_NAME)?;
        plain("owner", owner)?;
        let last = without_git(last);
        plain("repository's name", last)?;
        Ok((format!("{owner}/{last}"), page))
    }

    fn two<'p>(
        &self,
        parts: &'p [String],
        form: &'static str,
    ) -> Result<(&'p str, &'p str, &'p [String]), RefError> {
        match parts {
            [_, _, _, ..] if self.is_ssh() => Err(RefError::Surplus(form)),
            [one, other, page @ ..] => Ok((one, other, page)),
            _ => Err(RefError::NoRepository(form)),
        }
    }
}

/// Whether a page begins at this place of the path. Nothing is called `-`; the other words are names at the top.
fn is_gitlab_page(at: usize, rest: &[String]) -> bool {
    let rest: Vec<_> = rest.iter().map(String::as_str).collect();
    match rest[..] {
        ["-", ..] => true,
        _ if at < 2 => false,
        ["issues" | "merge_requests", number, ..] => {
            number.bytes().all(|byte| byte.is_ascii_digit())
        }
        ["commit", sha, ..] => sha.len() >= 7 && sha.bytes().all(|byte| byte.is_ascii_hexdigit()),
        [word, ..] => GITLAB_PAGES.contains(&word),
        [] => false,
    }
}

/// What follows a page's own words, as a branch's name.
fn below(page: &[String], words: &[&str]) -> Option<String> {
    let rest = page.strip_prefix(
        &words
            .iter()
            .map(|word| (*word).to_owned())
            .collect::<Vec<_>>()[..],
    )?;
    (!rest.is_empty()).then(|| rest.join("/"))
}

/// The last part as a repository's name.
fn name(path: &[String]) -> Result<&str, RefError> {
    let last = path.last().map(String::as_str).unwrap_or_default();
    let name = without_git(last);
    plain("project's name", name).map(|()| name)
}

/// Once: names may end so themselves.
fn without_git(name: &str) -> &str {
    name.strip_suffix(".git").unwrap_or(name)
}

fn is_uuid(text: &str) -> bool {
    let inner = text
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'));
    inner.is_some_and(|inner| uuid::Uuid::try_parse(inner).is_ok())
}

fn plain(part: &'static str, text: &str) -> Result<(), RefError> {
    const ALLOWED: &str = "letters, digits, '.', '_' and '-'";
    allowed(part, text, ALLOWED, |c| {
        c.is_ascii_alphanumeric() || "._-".contains(c)
    })
}

/// Names of Azure DevOps may hold blanks and letters of any script.
///
/// <https://learn.microsoft.com/azure/devops/organizations/settings/naming-restrictions>
fn azure_name(part: &'static str, text: &str) -> Result<(), RefError> {
    const ALLOWED: &str = "letters, digits, blanks and most signs, but none of \\ / : * ? \" < > | # $ % & { } + = [ ] , ;";
    allowed(part, text, ALLOWED, |c| {
        !"\\/:*?\"<>|#$%&{}+=[],;".contains(c)
    })
}

fn is_path_character(c: char) -> bool {
    !c.is_whitespace() && !"\\/\"'`$%*?<>|;&".contains(c)
}

fn allowed(
    part: &'static str,
    text: &str,
    allowed: &'static str,
    is_allowed: impl Fn(char) -> bool,
) -> Result<(), RefError> {
    let odd = text.chars().find(|c| !is_allowed(*c));
    let dots = matches!(text, "." | ".." | "").then_some('.');
    match odd.or(dots) {
        None => Ok(()),
        Some(character) => Err(RefError::BadPart {
            part,
            character,
            allowed,
        }),
    }
}
