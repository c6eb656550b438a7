//! Preconditions on ETags (RFC 9110, section 13).

/// The value of `If-Match` or `If-None-Match`.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Tags {
    /// `*`: any value at all.
    Any,
    /// One of these.
    OneOf(Vec<Tag>),
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Tag {
    opaque: String,
    is_weak: bool,
}

/// The conditions under which a request is carried out.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Preconditions {
    if_match: Option<Tags>,
    if_none_match: Option<Tags>,
}

impl Preconditions {
    /// Parses `If-Match` and `If-None-Match`; `None` if one of them is malformed.
    pub fn parse(if_match: Option<&str>, if_none_match: Option<&str>) -> Option<Self> {
        let parse = |header: Option<&str>| match header {
            Some(text) => Tags::parse(text).map(Some),
            None => Some(None),
        };
        Some(Self { if_match: parse(if_match)?, if_none_match: parse(if_none_match)? })
    }

    /// Whether the request has neither of the two headers.
    pub fn is_empty(&self) -> bool {
        self.if_match.is_none() && self.if_none_match.is_none()
    }

    /// Whether `If-Match` is given and does not match the current ETag, if there is one.
    pub fn mismatches(&self, tag: Option<&str>) -> bool {
        // By strong comparison, in which a weak ETag matches nothing.
        self.if_match.as_ref().is_some_and(|tags| !tags.include(tag, |given| !given.is_weak))
    }

    /// Whether `If-None-Match` is given and matches the current ETag: the client has this version.
    pub fn client_has(&self, tag: Option<&str>) -> bool {
        self.if_none_match.as_ref().is_some_and(|tags| tags.include(tag, |_| true))
    }

    /// Whether the client says which versions it has.
    pub fn has_if_none_match(&self) -> bool {
        self.if_none_match.is_some()
    }
}

impl Tags {
    /// Parses `*`, or a comma-separated list of `"ETAG"` and `W/"ETAG"`.
    fn parse(text: &str) -> Option<Self> {
        let mut text = text.trim();
        if text == "*" {
            return Some(Self::Any);
        }
        let mut tags = Vec::new();
        while !text.is_empty() {
            // An element of a list may be empty (RFC 9110, section 5.6.1.2).
            if let Some(rest) = text.strip_prefix(',') {
                text = rest.trim_start();
                continue;
            }
            let strong = text.strip_prefix("W/");
            let (opaque, rest) = strong.unwrap_or(text).strip_prefix('"')?.split_once('"')?;
            tags.push(Tag { opaque: opaque.to_owned(), is_weak: strong.is_some() });
            text = rest.trim_start();
            if !text.is_empty() && !text.starts_with(',') {
                return None;
            }
        }
        (!tags.is_empty()).then_some(Self::OneOf(tags))
    }

    fn include(&self, tag: Option<&str>, counts: impl Fn(&Tag) -> bool) -> bool {
        match self {
            Self::Any => tag.is_some(),
            Self::OneOf(tags) => {
                tags.iter().any(|given| counts(given) && Some(&*given.opaque) == tag)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_read_as_the_rfc_writes_them() {
        let knows = |header: &str, tag| {
            Preconditions::parse(None, Some(header))
                .map(|preconditions| preconditions.client_has(tag))
        };
        let matches = |header: &str, tag| {
            Preconditions::parse(Some(header), None)
                .map(|preconditions| !preconditions.mismatches(tag))
        };
        for (header, tag, known, matched) in [
            ("*", Some("a"), true, true),
            ("*", None, false, false),
            ("\"a\"", Some("a"), true, true),
            ("\"a\"", Some("b"), false, false),
            ("\"a\"", None, false, false),
            ("W/\"a\"", Some("a"), true, false),
            ("\"b\", W/\"c\" ,\"a\"", Some("a"), true, true),
            ("\"a,b\"", Some("a,b"), true, true),
            ("\"\"", Some(""), true, true),
            (",\"b\",, \"a\",", Some("a"), true, true),
        ] {
            assert_eq!(knows(header, tag), Some(known), "{header}");
            assert_eq!(matches(header, tag), Some(matched), "{header}");
        }
        for bad in ["", "a", "\"a", "a\"", "\"a\" \"b\"", ",", "w/\"a\"", "*, \"a\"", "'a'"] {
            assert_eq!(knows(bad, None), None, "{bad}");
            assert_eq!(matches(bad, None), None, "{bad}");
        }
        let none = Preconditions::default();
        assert!(none.is_empty() && !none.mismatches(Some("a")) && !none.client_has(Some("a")));
    }
}
