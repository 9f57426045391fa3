//! Describes store and file system errors briefly, and identifies the causes that the user can fix.

use std::io::{self, ErrorKind};

use object_store::Error;

/// Error codes in responses to requests with expired credentials.
const EXPIRED: [&str; 3] = ["ExpiredToken", "ExpiredTokenException", "RequestExpired"];

/// Part of the message that `object_store` returns if the bucket is in another region.
const OTHER_REGION: &str = "incorrectly configured region";

/// Error codes in Azure's responses to reads of archived objects.
const ARCHIVED: [&str; 2] = ["BlobArchived", "BlobBeingRehydrated"];

/// Returns a short message for an `object_store` error.
pub(super) fn summarize(error: &Error) -> String {
    let text = error.to_string();
    let response = ErrorResponse::parse(&text);
    if let Some(region) = response.region {
        return format!("the bucket is in the region {region}: set AWS_REGION={region}");
    }
    match response.code.unwrap_or_default() {
        "AccessDenied" => {
            return format!(
                "permission denied: {}",
                response.message.unwrap_or("the store gives no reason")
            );
        }
        "NoSuchBucket" | "ContainerNotFound" => return "there is no such bucket".to_owned(),
        "NoSuchUpload" | "InvalidBlockList" => return "the upload no longer exists".to_owned(),
        "InvalidObjectState" => {
            return "is archived (Glacier): restore it first, then convert it".to_owned();
        }
        code if ARCHIVED.contains(&code) => {
            return "is archived: restore it to an online access tier first, then convert it"
                .to_owned();
        }
        code if EXPIRED.contains(&code) => {
            return "the credentials have expired: renew them, then run the same command again"
                .to_owned();
        }
        code @ ("InvalidAccessKeyId" | "SignatureDoesNotMatch" | "InvalidToken") => {
            return format!(
                "the store rejects the credentials ({code}): check AWS_PROFILE or \
                 AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            );
        }
        _ => {}
    }
    match error {
        Error::NotFound { .. } => "no longer exists".to_owned(),
        Error::Precondition { .. } => "was rewritten since it was listed".to_owned(),
        Error::PermissionDenied { .. } => match response.message {
            Some(message) => format!("permission denied: {message}"),
            None => "permission denied".to_owned(),
        },
        Error::Unauthenticated { source, .. } if response.code.is_none() => format!(
            "no credentials were found ({source}): set AWS_PROFILE, or AWS_ACCESS_KEY_ID and \
             AWS_SECRET_ACCESS_KEY, or attach a role to the machine"
        ),
        _ if text.contains(OTHER_REGION) => {
            "the bucket is in another region: set AWS_REGION".to_owned()
        }
        Error::NotSupported { source } => format!("cannot be read: {source}"),
        Error::Generic { source, .. }
            if source.downcast_ref::<io::Error>().is_some_and(is_out_of_files) =>
        {
            format!("too many open files: {MORE_FILES}")
        }
        other => match (response.code, response.message) {
            (Some(code), Some(message)) => format!("the store returned {code}: {message}"),
            _ => with_causes(other),
        },
    }
}

/// Hint that is printed when the process or the system has run out of file descriptors.
const MORE_FILES: &str = "raise the limit with `ulimit -n 1024`, then run the same command again";

/// The cause of a file system or store error, if the user can fix it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// The file system does not support hard links, or the file is immutable.
    NoHardLinks,
    /// The user lacks permission.
    Permission,
    /// The file system is read-only.
    ReadOnly,
    /// The dataset spans several file systems.
    OtherFileSystem,
    /// The device is full.
    Full,
    /// The quota is exhausted.
    Quota,
    /// The file exceeds the size limit of the file system or the process.
    FileSize,
    /// A file exists where a directory is expected.
    NotADirectory,
    /// The process or the system has run out of file descriptors.
    OpenFiles,
    /// The store denies access.
    Denied,
    /// No credentials were found.
    NoCredentials,
    /// The bucket is in another region. Contains that region, if the store returned it.
    Region(Option<String>),
}

/// Why a file system or a store refuses to read or write a file.
#[derive(Debug)]
pub struct Refusal {
    /// The reason, for display in messages.
    pub why: String,
    /// The machine-readable reason.
    pub cause: Cause,
}

impl Refusal {
    /// Returns why a file system refused an operation. Returns `None` if the outcome of the operation is unknown.
    pub(super) fn of_disk(error: &io::Error) -> Option<Self> {
        let (why, cause) = match error.kind() {
            _ if is_unsupported(error) => ("operation not permitted", Cause::NoHardLinks),
            ErrorKind::PermissionDenied => ("permission denied", Cause::Permission),
            ErrorKind::ReadOnlyFilesystem => ("the file system is read-only", Cause::ReadOnly),
            ErrorKind::CrossesDevices => (
                "it is on a different file system than _alb2parquet/staging",
                Cause::OtherFileSystem,
            ),
            ErrorKind::StorageFull => ("no space left on the device", Cause::Full),
            ErrorKind::QuotaExceeded => ("disk quota exceeded", Cause::Quota),
            ErrorKind::FileTooLarge => ("file too large", Cause::FileSize),
            ErrorKind::NotADirectory => ("a part of its path is a file", Cause::NotADirectory),
            _ if is_out_of_files(error) => ("too many open files", Cause::OpenFiles),
            _ => return None,
        };
        Some(Self { why: why.to_owned(), cause })
    }

    /// Returns why a store denied a request. Returns `None` if the request failed for another reason.
    pub(super) fn of_store(error: &Error) -> Option<Self> {
        let cause = if is_denied(error) { cause(error)? } else { return None };
        Some(Self { why: summarize(error), cause })
    }
}

/// Returns why a store denies access, if the user can fix it.
pub(super) fn cause(error: &Error) -> Option<Cause> {
    let text = error.to_string();
    let response = ErrorResponse::parse(&text);
    if response.region.is_some() || text.contains(OTHER_REGION) {
        return Some(Cause::Region(response.region.map(ToOwned::to_owned)));
    }
    if matches!(error, Error::Unauthenticated { .. }) && response.code.is_none() {
        return Some(Cause::NoCredentials);
    }
    is_denied(error).then_some(Cause::Denied)
}

fn is_denied(error: &Error) -> bool {
    matches!(error, Error::PermissionDenied { .. } | Error::Unauthenticated { .. })
}

/// Returns whether the process or the system has run out of file descriptors (`EMFILE`, `ENFILE`).
#[cfg(unix)]
fn is_out_of_files(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

#[cfg(not(unix))]
fn is_out_of_files(_: &io::Error) -> bool {
    false
}

/// Returns whether the file system does not support the operation. Some file systems return `EPERM` for a hard link. A
/// missing permission would cause `EACCES` instead.
fn is_unsupported(error: &io::Error) -> bool {
    #[cfg(unix)]
    let is_not_permitted = error.raw_os_error() == Some(libc::EPERM);
    #[cfg(not(unix))]
    let is_not_permitted = false;
    is_not_permitted || error.kind() == ErrorKind::Unsupported
}

/// Describes why a local file cannot be read.
pub(super) fn describe(error: &io::Error) -> String {
    if is_out_of_files(error) {
        format!("too many open files: {MORE_FILES}")
    } else {
        error.to_string()
    }
}

/// Returns whether an error response states that the request's credentials have expired.
pub(super) fn is_expired(text: &str) -> bool {
    ErrorResponse::parse(text).code.is_some_and(|code| EXPIRED.contains(&code))
}

/// Returns whether a request failed with a server error even after all retries.
pub(super) fn is_server_error(error: &Error) -> bool {
    error.to_string().contains("status code: 5")
}

/// Returns whether an upload to Azure has no uncommitted blocks left because they were committed, replaced or deleted.
/// This state is final, because no other upload uses the same block IDs.
pub(super) fn is_without_parts(error: &Error) -> bool {
    ErrorResponse::parse(&error.to_string()).code == Some("InvalidBlockList")
}

/// Returns whether an object cannot be read because it is archived and must be restored first.
pub(super) fn is_archived(error: &Error) -> bool {
    let text = error.to_string();
    let code = ErrorResponse::parse(&text).code;
    code.is_some_and(|code| code == "InvalidObjectState" || ARCHIVED.contains(&code))
}

/// Returns an error's message, followed by the messages of its causes. Skips messages that are already included.
pub(super) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !text.contains(&message) {
            text = format!("{text}: {message}");
        }
        cause = error.source();
    }
    text
}

/// The fields of an error response in S3 or Azure format.
#[derive(Debug, PartialEq, Eq)]
struct ErrorResponse<'a> {
    code: Option<&'a str>,
    message: Option<&'a str>,
    region: Option<&'a str>,
}

impl<'a> ErrorResponse<'a> {
    fn parse(text: &'a str) -> Self {
        let element = |name: &str| {
            let (_, rest) = text.split_once(&format!("<{name}>"))?;
            rest.split_once(&format!("</{name}>")).map(|(content, _)| content)
        };
        let code = element("Code");
        let elsewhere = ["AuthorizationHeaderMalformed", "PermanentRedirect"];
        let is_elsewhere = code.is_some_and(|code| elsewhere.contains(&code));
        let region = element("Region").filter(|_| is_elsewhere);
        Self { code, message: element("Message"), region }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generic(text: &str) -> Error {
        Error::Generic { store: "S3", source: text.to_owned().into() }
    }

    /// The standard library maps `EPERM` and `EACCES` to the same error kind, but their remedies differ.
    #[cfg(unix)]
    #[test]
    fn missing_hard_links_are_not_a_permission_error() {
        for (code, why, cause) in [
            (libc::EPERM, "operation not permitted", Cause::NoHardLinks),
            (libc::EOPNOTSUPP, "operation not permitted", Cause::NoHardLinks),
            (libc::EACCES, "permission denied", Cause::Permission),
        ] {
            let refusal = Refusal::of_disk(&io::Error::from_raw_os_error(code)).unwrap();
            assert_eq!(refusal.why, why);
            assert_eq!(refusal.cause, cause);
        }
    }

    #[test]
    fn an_error_for_a_wrong_region_contains_the_right_one() {
        let text = "400: <Error><Code>AuthorizationHeaderMalformed</Code><Message>The authorization \
                    header is malformed; the region 'us-east-1' is wrong; expecting \
                    'eu-west-1'</Message><Region>eu-west-1</Region></Error>";
        assert!(summarize(&generic(text)).contains("AWS_REGION=eu-west-1"));
        assert_eq!(cause(&generic(text)), Some(Cause::Region(Some("eu-west-1".to_owned()))));
    }

    #[test]
    fn error_codes_are_explained() {
        let of = |code: &str| {
            summarize(&generic(&format!("<Code>{code}</Code><Message>the reason</Message>")))
        };
        for code in ["NoSuchBucket", "ContainerNotFound"] {
            assert_eq!(of(code), "there is no such bucket");
        }
        for code in ["NoSuchUpload", "InvalidBlockList"] {
            assert_eq!(of(code), "the upload no longer exists");
        }
        for code in ["InvalidObjectState", "BlobArchived", "BlobBeingRehydrated"] {
            assert!(of(code).contains("restore it"), "{code}");
            assert!(is_archived(&generic(&format!("<Code>{code}</Code>"))), "{code}");
        }
        assert!(of("InvalidObjectState").contains("Glacier"));
        assert!(of("ExpiredToken").contains("expired"));
        assert!(of("SignatureDoesNotMatch").contains("credentials"));
        assert_eq!(of("SlowDown"), "the store returned SlowDown: the reason");
        assert!(summarize(&generic("no xml")).contains("no xml"));
    }
}
