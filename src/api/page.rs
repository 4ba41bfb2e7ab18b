//! Pages of lists: a limit, and an opaque cursor that names the last item of the page before.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};

use super::problem::{Problem, ProblemCode};

const LIMIT_DEFAULT: u8 = 50;
const LIMIT_MAX: u8 = 100;

/// The page that a caller asks for.
#[derive(Debug)]
pub struct PageQuery<'a> {
    limit: u8,
    cursor: Option<&'a str>,
}

/// Where a page ended.
#[derive(Debug)]
pub struct Cursor(String);

impl Cursor {
    /// The cursor that names an item.
    pub fn of(item: impl std::fmt::Display) -> Self {
        Self(BASE64_URL_SAFE_NO_PAD.encode(item.to_string()))
    }

    /// The cursor as callers see it.
    pub fn into_text(self) -> String {
        self.0
    }
}

impl<'a> PageQuery<'a> {
    /// Checks the limit.
    ///
    /// # Errors
    /// [`ProblemCode::InvalidQuery`] when it is not 1 to 100.
    pub fn new(limit: Option<u8>, cursor: Option<&'a str>) -> Result<Self, Problem> {
        let limit = limit.unwrap_or(LIMIT_DEFAULT);
        match limit {
            1..=LIMIT_MAX => Ok(Self { limit, cursor }),
            _ => Err(Problem::new(ProblemCode::InvalidQuery).parameter("limit", "use 1 to 100")),
        }
    }

    /// The item that the cursor names.
    ///
    /// # Errors
    /// [`ProblemCode::InvalidQuery`] when it is none of ours.
    pub fn cursor<T: std::str::FromStr>(&self) -> Result<Option<T>, Problem> {
        let Some(cursor) = self.cursor else {
            return Ok(None);
        };
        let text = BASE64_URL_SAFE_NO_PAD
            .decode(cursor)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .filter(|text| !text.contains('\0'));
        match text.and_then(|text| text.parse().ok()) {
            Some(item) => Ok(Some(item)),
            None => Err(Problem::new(ProblemCode::InvalidQuery).parameter(
                "cursor",
                "use the `next_cursor` of the page before, unchanged",
            )),
        }
    }

    /// How many items the page holds at most.
    pub fn limit(&self) -> i64 {
        self.limit.into()
    }

    /// How many rows to read: one more than the page holds tells whether there is a next one.
    pub fn limit_and_one(&self) -> i64 {
        self.limit() + 1
    }

    /// Cuts the rows to the page; the cursor of the next one, when there is one.
    pub fn cut<T>(
        &self,
        mut rows: Vec<T>,
        cursor: impl Fn(&T) -> Cursor,
    ) -> (Vec<T>, Option<String>) {
        let more = rows.len() > usize::from(self.limit);
        rows.truncate(self.limit.into());
        let next = rows
            .last()
            .filter(|_| more)
            .map(|last| cursor(last).into_text());
        (rows, next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_that_no_page_has_made_are_refused() {
        let made = Cursor::of("acme-github").into_text();
        let page = PageQuery::new(None, Some(&made)).expect("a limit");
        assert_eq!(
            page.cursor::<String>().ok(),
            Some(Some("acme-github".to_owned()))
        );
        let with_nul = Cursor::of("a\0b").into_text();
        for forged in ["ö", "a", "_w", &with_nul] {
            let page = PageQuery::new(None, Some(forged)).expect("a limit");
            assert!(page.cursor::<String>().is_err(), "{forged}");
        }
    }
}
