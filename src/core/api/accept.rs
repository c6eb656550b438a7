//! The choice of a representation by the `Accept` header (RFC 9110, section 12.5.1).

/// Whether a client accepts a media type.
pub fn accepts(accept: &str, media_type: &str) -> bool {
    quality(accept, media_type) > 0
}

/// The quality that an `Accept` header gives a media type, in thousandths; 0 is not acceptable.
///
/// The most specific range that fits decides. Malformed ranges are ignored, and a header without any
/// other accepts everything.
fn quality(accept: &str, media_type: &str) -> u32 {
    let (mut best, mut is_known) = (None, false);
    let media_type = media_type.split(';').next().unwrap_or_default();
    let class = media_type.split('/').next().unwrap_or_default();
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let quality =
            parts.find_map(|part| part.strip_prefix("q=")).map_or(Some(1000), thousandths);
        let (Some(quality), Some((range_class, subtype))) = (quality, name.split_once('/')) else {
            continue;
        };
        is_known = true;
        let fit = if name.eq_ignore_ascii_case(media_type) {
            3
        } else if subtype == "*" && range_class.eq_ignore_ascii_case(class) {
            2
        } else if name == "*/*" {
            1
        } else {
            continue;
        };
        best = best.max(Some((fit, quality)));
    }
    best.map_or(if is_known { 0 } else { 1000 }, |(_, quality)| quality)
}

/// Parses a quality of at most 1 with at most three decimals: `0.5` is 500. Java's HTTP client leaves
/// the zero out.
fn thousandths(text: &str) -> Option<u32> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    if decimals.len() > 3 || !decimals.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let whole: u32 = format!("0{whole}").parse().ok().filter(|&whole| whole <= 1)?;
    let decimals: u32 = format!("{decimals:0<3}").parse().ok()?;
    Some(whole * 1000 + decimals).filter(|&quality| quality <= 1000)
}

/// Whether the client prefers the second of two media types; `None` if it accepts neither.
pub fn prefers_second(accept: &str, first: &str, second: &str) -> Option<bool> {
    let (first, second) = (quality(accept, first), quality(accept, second));
    (first.max(second) > 0).then_some(second > first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preferred_representation_is_found() {
        const FIRST: &str = "text/plain; charset=UTF-8";
        const SECOND: &str = "application/json";
        for (accept, wanted) in [
            ("", Some(false)),
            ("*/*", Some(false)),
            ("text/plain", Some(false)),
            ("application/json", Some(true)),
            ("Application/JSON; charset=utf-8", Some(true)),
            ("application/json, text/plain, */*", Some(false)),
            ("application/json, */*;q=0.5", Some(true)),
            ("text/*;q=0.5, application/json;q=0.4", Some(false)),
            ("text/plain;q=0, */*", Some(true)),
            ("application/*, text/plain;q=0.999", Some(true)),
            ("application/xml", None),
            ("text/plain;q=0", None),
            ("text/html, image/gif, *; q=.2, */*; q=.2", Some(false)),
            ("nonsense", Some(false)),
            ("application/json;q=2", Some(false)),
        ] {
            assert_eq!(prefers_second(accept, FIRST, SECOND), wanted, "{accept}");
        }
    }
}
