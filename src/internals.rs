//! Internals that the program, tests, benches and fuzz targets use. They are not part of the public API and may change
//! without notice.

#[cfg(feature = "cli")]
pub use crate::cli::main;

pub mod logs {
    pub mod form {
        pub use crate::logs::form::{Form, Row, Value, Writer};
    }
    pub mod key {
        pub use crate::logs::key::{
            Directory, Key, Partition, Position, from_root, identity, mismatch,
        };
    }
    pub mod reject {
        pub use crate::logs::reject::{MAX_RAW, MEANINGS, Reason, Reject, schema};
    }
    pub mod schema {
        pub use crate::logs::schema::{Kind, LogType, OWN_COLUMNS, SchemaError, Table};
    }
}

pub mod decode {
    pub mod columns {
        pub use crate::decode::columns::{Found, builder};
    }
    pub mod decoder {
        pub use crate::decode::decoder::{Decoded, DecodedSegment, Decoder, MAX_REJECTS};
    }
    pub mod forms {
        pub use crate::decode::forms::{Written, WrittenLines};
    }
    pub mod gzip {
        pub use crate::decode::gzip::{Decompressed, MAX_WHOLE, Note, Segment, Stream, Whole};
    }
    pub mod inspect {
        pub use crate::decode::inspect::{Inspection, Limits};
    }
    pub mod locate {
        pub use crate::decode::locate::fault_range;
    }
    pub mod reader {
        pub use crate::decode::reader::{Counts, Reader};
    }
    pub mod sniff {
        pub use crate::decode::sniff::recognize;
    }
    pub mod text_buffer {
        pub use crate::decode::text_buffer::Text;
    }
    pub mod tokenizer {
        pub use crate::decode::tokenizer::{Grammar, MAX_LINE, Tile};
    }
}

#[cfg(feature = "cli")]
pub use with_cli::*;

/// Internals that only tests use. Tests run with all features enabled.
#[cfg(feature = "cli")]
mod with_cli {
    pub mod util {
        pub mod escape {
            pub use crate::util::escape::{printable, printable_json};
        }
        pub mod hash {
            pub use crate::util::hash::hex;
        }
    }

    pub mod encode {
        pub use crate::encode::{Compression, Format, TableEncoder};
        pub mod profile {
            pub use crate::encode::profile::Profile;
        }
    }

    pub mod redact {
        pub use crate::redact::{Agreement, COLUMNS, Redaction, Rules};
    }

    pub mod store {
        pub use crate::store::{
            Bucket, Calls, Completed, Created, Disk, FileKey, FileName, Kind, Leftover, MAX_SIZE,
            Network, Owner, Patience, Place, Source, Stage, Staged, StagedFile, StoreError, Stored,
            Target, TargetError, Web, Writing, create_confirmed, decoded, decompressed, has_secret,
            meant, parse_page, split,
        };
    }

    pub mod dataset {
        pub mod claim {
            pub use crate::dataset::claim::{
                Amended, Claim, Claimed, Hints, Log, Output, Record, Rewrite, State,
            };
            pub mod embedded {
                pub use crate::dataset::claim::embedded::{KEY, decode, encode};
            }
        }
        pub mod file {
            pub use crate::dataset::file::PublishedFile;
        }
        pub mod layout {
            pub use crate::dataset::layout::{Dataset, DatasetError, Layout, Opening, STAGING};
        }
        pub mod ledger {
            pub use crate::dataset::ledger::{Committed, Ledger};
        }
        pub mod publish {
            pub use crate::dataset::publish::end;
        }
        pub mod shard {
            pub use crate::dataset::shard::Shard;
        }
    }

    pub mod plan {
        pub use crate::plan::{
            Batch, Day, Failure, Gathering, Listing, Plan, Planned, Planner, Remedy, Scope,
            Selection, TOUCHED,
        };
        pub mod estimate {
            pub use crate::plan::estimate::{Estimate, Estimation, Prices, Speed};
        }
        pub mod inventory {
            pub use crate::plan::inventory::{ObjectsError, has_credentials, read_with};
        }
    }

    pub mod convert {
        pub use crate::convert::{Conversion, Observer, Read};
        pub mod manifest {
            pub use crate::convert::manifest::{BadLine, Description};
        }
        pub mod tally {
            pub use crate::convert::tally::Tally;
        }
        pub mod touched {
            pub use crate::convert::touched::{Compared, Comparison};
        }
    }

    pub mod maintain {
        pub mod clean {
            pub use crate::maintain::clean::clean;
        }
        pub mod compact {
            pub use crate::maintain::compact::{Compaction, Replacement};
        }
        pub mod repair {
            pub use crate::maintain::repair::{apply, find};
        }
        pub mod retire {
            pub use crate::maintain::retire::{
                Action, Kept, Manifest, ManifestError, Prove, RetireError, Retirement, Summary,
            };
        }
        pub mod verify {
            pub use crate::maintain::verify::{Finding, Report, Verification};
            pub mod reference {
                pub use crate::maintain::verify::reference::{
                    Line, Row, Value, lines, without_blank_end,
                };
            }
        }
    }

    pub mod catalog {
        pub mod ddl {
            pub use crate::catalog::ddl::{Dialect, External};
        }
        #[cfg(feature = "iceberg")]
        pub mod iceberg {
            pub use crate::catalog::iceberg::metadata_files::Files;
            pub use crate::catalog::iceberg::sql_catalog::Sql;
            pub use crate::catalog::iceberg::table_catalog::{
                Catalog, Change, Committed, Loaded, Pointer, PointerCatalog, Pointers,
            };
            pub use crate::catalog::iceberg::{
                IcebergError, Options, Publication, Published, Publisher, without_compaction,
            };
        }
    }

    pub mod report {
        pub use crate::report::{
            Counts, Day, DayRange, Facts, IncompleteObjects, LoadBalancer, MissingDays,
            MissingWindows, Retired, Totals, WindowRange, html,
        };
    }
}
