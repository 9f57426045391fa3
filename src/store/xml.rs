//! Characters in XML responses.

use quick_xml::events::BytesRef;

/// Returns the character that a reference stands for, such as `&amp;` or `&#13;`.
///
/// # Errors
///
/// Fails if the reference is unknown. Returns the reason.
pub(super) fn character(reference: &BytesRef<'_>) -> Result<char, String> {
    let name = reference.decode().map_err(|error| error.to_string())?;
    match (reference.resolve_char_ref().map_err(|error| error.to_string())?, &*name) {
        (Some(character), _) => Ok(character),
        (None, "amp") => Ok('&'),
        (None, "lt") => Ok('<'),
        (None, "gt") => Ok('>'),
        (None, "quot") => Ok('"'),
        (None, "apos") => Ok('\''),
        (None, other) => Err(format!("&{other}; is unknown")),
    }
}
