//! Views with the columns of AWS's own Athena tables, which parse lines with a regular expression.
//!
//! Sources: <https://docs.aws.amazon.com/athena/latest/ug/create-alb-access-logs-table.html>,
//! <https://docs.aws.amazon.com/athena/latest/ug/networkloadbalancer-classic-logs.html> and
//! <https://docs.aws.amazon.com/athena/latest/ug/elasticloadbalancer-classic-logs.html>. String columns in these tables
//! contain the text of the field, including `-`. The documentation has no table for health checks. There is no view for
//! its connection log table.

use arrow::datatypes::DataType;

use crate::catalog::ddl::{Column, External, literal, quoted};
use crate::logs::schema::LogType;

/// A table in AWS's documentation.
struct Documented {
    /// The table's last column. The columns before it are the same as in this program's table.
    last: &'static str,
    /// Format of the times in the table.
    times: &'static str,
    /// The columns whose form differs from the default that [`Form::of`] returns.
    forms: &'static [(&'static str, Form)],
}

/// How a view converts a column to the type and values of AWS's table.
#[derive(Clone, Copy)]
enum Form {
    /// Unchanged.
    Same,
    /// A time as text, with the given text instead of NULL.
    Time(&'static str),
    /// Text, with the given text instead of NULL. AWS's regular expression mistakes the `-` of some absent addresses
    /// for the delimiter before the port, so these addresses become empty. Fields missing from a line also become
    /// empty.
    Or(&'static str),
    /// A number as text.
    Digits,
    /// An integer as a double.
    Double,
    /// Text, including the quotes around the field.
    Quoted,
}

const ACCESS: Documented = Documented {
    last: "conn_trace_id",
    times: "%Y-%m-%dT%H:%i:%s.%fZ",
    forms: &[
        ("target_ip", Form::Or("")),
        ("target_status_code", Form::Digits),
        ("matched_rule_priority", Form::Digits),
        ("conn_trace_id", Form::Or("")),
    ],
};

const NLB_TLS: Documented = Documented {
    last: "tls_connection_creation_time",
    times: "%Y-%m-%dT%H:%i:%s",
    forms: &[
        ("tcp_connection_time_ms", Form::Double),
        ("tls_handshake_time_ms", Form::Double),
        ("tls_connection_creation_time", Form::Time("")),
    ],
};

const CLASSIC: Documented = Documented {
    last: "ssl_protocol",
    times: "%Y-%m-%dT%H:%i:%s.%fZ",
    forms: &[
        ("backend_ip", Form::Or("")),
        ("elb_response_code", Form::Digits),
        ("backend_response_code", Form::Digits),
        // For TCP and SSL listeners, the request is logged as "- - - ", with a space at the end.
        ("protocol", Form::Or("- ")),
        ("user_agent", Form::Quoted),
    ],
};

impl Documented {
    fn of(log_type: LogType) -> Option<Self> {
        match log_type {
            LogType::Access => Some(ACCESS),
            LogType::NlbTls => Some(NLB_TLS),
            LogType::Classic => Some(CLASSIC),
            LogType::Connection | LogType::HealthCheck => None,
        }
    }

    /// Returns an expression that converts a column to the type and values in AWS's table.
    fn expression(&self, column: &Column) -> String {
        let exception = self.forms.iter().find(|(name, _)| *name == column.name);
        let form = exception.map_or_else(|| Form::of(&column.data_type), |(_, form)| *form);
        let name = quoted(&column.name, '"');
        let expression = match form {
            Form::Same => return format!("  {name}"),
            Form::Time(text) => {
                let (times, text) = (literal(self.times), literal(text));
                format!("coalesce(date_format({name}, {times}), {text})")
            }
            Form::Or(text) => format!("coalesce({name}, {})", literal(text)),
            Form::Digits => format!("coalesce(CAST({name} AS varchar), '-')"),
            Form::Double => format!("CAST({name} AS double)"),
            Form::Quoted => format!(r#"'"' || coalesce({name}, '-') || '"'"#),
        };
        format!("  {expression} AS {name}")
    }
}

impl Form {
    /// Returns the default form for a column type.
    fn of(data_type: &DataType) -> Self {
        match data_type {
            DataType::Timestamp(..) => Self::Time("-"),
            DataType::Utf8 => Self::Or("-"),
            _ => Self::Same,
        }
    }
}

/// Returns the statement that creates the view, or `None` if there is no view for the table.
pub(super) fn view(table: &External, view: &str) -> Option<String> {
    let documented = Documented::of(table.log_type?)?;
    let last = table.columns.iter().position(|column| column.name == documented.last)?;
    let columns = table.columns[..=last].iter().map(|column| documented.expression(column));
    Some(format!(
        "CREATE OR REPLACE VIEW {view} AS\nSELECT\n{columns},\n  \
         \"year\" || '/' || \"month\" || '/' || \"day\" AS \"day\"\nFROM {name};\n",
        view = quoted(view, '"'),
        columns = columns.collect::<Vec<_>>().join(",\n"),
        name = quoted(&table.name, '"'),
    ))
}
