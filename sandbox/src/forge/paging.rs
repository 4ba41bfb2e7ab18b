//! Pages of lists that are asked for by number.

use serde_json::Value;

/// One page of a list, and what a provider tells about it.
#[derive(Clone, Debug)]
pub struct Page {
    pub items: Vec<Value>,
    pub size: usize,
    /// From 1.
    pub number: usize,
    pub total: usize,
}

impl Page {
    /// Cuts page `number` (from 1) of `size` items out of a list.
    pub fn cut(items: Vec<Value>, number: usize, size: usize) -> Self {
        let (number, size, total) = (number.max(1), size.max(1), items.len());
        let items = items.into_iter().skip((number - 1) * size).take(size);
        Self {
            items: items.collect(),
            size,
            number,
            total,
        }
    }

    /// Number of the last page; 1 for an empty list.
    pub fn last(&self) -> usize {
        self.total.div_ceil(self.size).max(1)
    }

    /// Number of the next page.
    pub fn next(&self) -> Option<usize> {
        (self.number < self.last()).then_some(self.number + 1)
    }

    /// A `Link` header; `address` gives the address of a page by its number.
    pub fn links(&self, address: impl Fn(usize) -> String) -> String {
        let previous = (self.number > 1).then(|| (self.number - 1).min(self.last()));
        let pages = [
            ("prev", previous),
            ("next", self.next()),
            ("first", Some(1)),
            ("last", Some(self.last())),
        ];
        let link = |(relation, page): (&str, Option<usize>)| {
            Some(format!("<{}>; rel=\"{relation}\"", address(page?)))
        };
        pages
            .into_iter()
            .filter_map(link)
            .collect::<Vec<_>>()
            .join(", ")
    }
}
