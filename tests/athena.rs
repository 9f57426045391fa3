//! Statements for Athena follow the AWS documentation: clause order, types and property keys.
//!
//! The parser is written from the documented grammar and is independent of the code under test:
//! <https://docs.aws.amazon.com/athena/latest/ug/create-table.html>,
//! <https://docs.aws.amazon.com/athena/latest/ug/alter-table-add-partition.html>,
//! <https://docs.aws.amazon.com/athena/latest/ug/msck-repair-table.html> and
//! <https://docs.aws.amazon.com/athena/latest/ug/partition-projection-supported-types.html>.

use std::collections::BTreeMap;

use alb2parquet::internals::logs::schema::LogType;

use crate::support::{World, convert, good_lines, gzip, key, run};

/// The maximum length of a statement, in bytes.
const LONGEST: usize = 262_144;
/// The maximum length of a column comment, in characters.
const COMMENT: usize = 255;

#[derive(Debug, Clone, PartialEq)]
enum Token {
    /// A case-insensitive word, in upper case.
    Word(String),
    /// A name in backquotes.
    Name(String),
    /// The content of a string literal, unquoted and unescaped.
    Text(String),
    /// A punctuation character.
    Sign(char),
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.chars().peekable();
    while let Some(first) = rest.next() {
        let token = match first {
            _ if first.is_whitespace() => continue,
            '`' => Token::Name(rest.by_ref().take_while(|&c| c != '`').collect()),
            '\'' => {
                let mut text = String::new();
                loop {
                    match rest.next().ok_or("a string does not end")? {
                        '\'' => break,
                        '\\' => text.extend(rest.next()),
                        other => text.push(other),
                    }
                }
                Token::Text(text)
            }
            _ if first.is_ascii_alphabetic() => {
                let mut word = String::from(first.to_ascii_uppercase());
                while let Some(next) = rest.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
                    word.push(next.to_ascii_uppercase());
                }
                Token::Word(word)
            }
            _ => Token::Sign(first),
        };
        tokens.push(token);
    }
    Ok(tokens)
}

/// The remaining tokens of a statement.
struct Reader(std::vec::IntoIter<Token>);

type Read<T> = Result<T, String>;

impl Reader {
    fn peek(&self) -> Option<&Token> {
        self.0.as_slice().first()
    }

    fn next(&mut self) -> Read<Token> {
        self.0.next().ok_or_else(|| "the statement ends too early".to_owned())
    }

    /// Consumes the given words if they come next. Returns whether they did.
    fn takes(&mut self, words: &str) -> bool {
        let words: Vec<Token> = words.split(' ').map(|word| Token::Word(word.to_owned())).collect();
        let found = self.0.as_slice().starts_with(&words);
        if found {
            self.0.by_ref().take(words.len()).for_each(drop);
        }
        found
    }

    fn words(&mut self, words: &str) -> Read<()> {
        if self.takes(words) { Ok(()) } else { Err(format!("{:?} is not {words}", self.peek())) }
    }

    fn sign(&mut self, sign: char) -> Read<()> {
        match self.next()? {
            Token::Sign(found) if found == sign => Ok(()),
            other => Err(format!("{other:?} is not {sign}")),
        }
    }

    fn text(&mut self) -> Read<String> {
        match self.next()? {
            Token::Text(text) => Ok(text),
            other => Err(format!("{other:?} is not a string")),
        }
    }

    fn name(&mut self) -> Read<String> {
        match self.next()? {
            Token::Name(name)
                if !name.is_empty()
                    && name
                        .chars()
                        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_') =>
            {
                Ok(name)
            }
            other => Err(format!("{other:?} is not an Athena name in backquotes")),
        }
    }

    /// `[db_name.]table_name`
    fn table_name(&mut self) -> Read<String> {
        let name = self.name()?;
        if self.peek() != Some(&Token::Sign('.')) {
            return Ok(name);
        }
        self.sign('.')?;
        Ok(format!("{name}.{}", self.name()?))
    }

    /// `(item, …)`
    fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Read<T>) -> Read<Vec<T>> {
        self.sign('(')?;
        let mut items = vec![item(self)?];
        loop {
            match self.next()? {
                Token::Sign(',') => items.push(item(self)?),
                Token::Sign(')') => return Ok(items),
                other => return Err(format!("{other:?} is in a list")),
            }
        }
    }

    /// `col_name data_type [COMMENT col_comment]`
    fn column(&mut self) -> Read<(String, String)> {
        const TYPES: [&str; 11] = [
            "BOOLEAN",
            "TINYINT",
            "SMALLINT",
            "INT",
            "BIGINT",
            "DOUBLE",
            "FLOAT",
            "STRING",
            "BINARY",
            "DATE",
            "TIMESTAMP",
        ];
        let name = self.name()?;
        let data_type = match self.next()? {
            Token::Word(word) if TYPES.contains(&word.as_str()) => word,
            other => return Err(format!("{other:?} is not an Athena type")),
        };
        if self.takes("COMMENT") {
            let comment = self.text()?;
            if comment.chars().count() > COMMENT {
                return Err(format!("a comment is too long: {comment}"));
            }
        }
        Ok((name, data_type))
    }

    fn end(&mut self) -> Read<()> {
        self.sign(';')?;
        self.0.next().map_or(Ok(()), |token| Err(format!("{token:?} follows the statement")))
    }
}

#[derive(Debug)]
struct Table {
    columns: Vec<(String, String)>,
    partitioned: Vec<(String, String)>,
    properties: BTreeMap<String, String>,
}

fn create_table(statement: &str) -> Read<Table> {
    let mut reader = Reader(tokens(statement)?.into_iter());
    reader.words("CREATE EXTERNAL TABLE")?;
    reader.takes("IF NOT EXISTS");
    reader.table_name()?;
    let columns = reader.list(Reader::column)?;
    if reader.takes("COMMENT") {
        reader.text()?;
    }
    let partitioned =
        if reader.takes("PARTITIONED BY") { reader.list(Reader::column)? } else { Vec::new() };
    // The grammar also allows CLUSTERED BY and ROW FORMAT here, but no table uses them.
    if reader.takes("STORED AS") {
        let formats = ["SEQUENCEFILE", "TEXTFILE", "RCFILE", "ORC", "PARQUET", "AVRO", "ION"];
        match reader.next()? {
            Token::Word(format) if formats.contains(&format.as_str()) => (),
            other => return Err(format!("{other:?} is not an Athena format")),
        }
    }
    reader.words("LOCATION")?;
    let location = reader.text()?;
    if !(location.starts_with("s3://") && location.ends_with('/')) {
        return Err(format!("{location} is not a directory in S3"));
    }
    let mut properties = BTreeMap::new();
    if reader.takes("TBLPROPERTIES") {
        let pairs = reader.list(|reader| {
            let key = reader.text()?;
            reader.sign('=')?;
            Ok((key, reader.text()?))
        })?;
        for (key, value) in pairs {
            if properties.insert(key.clone(), value).is_some() {
                return Err(format!("{key} is specified twice"));
            }
        }
    }
    reader.end()?;
    let mut names: Vec<_> = columns.iter().chain(&partitioned).map(|(name, _)| name).collect();
    names.sort();
    if names.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err("two columns have the same name".to_owned());
    }
    let table = Table { columns, partitioned, properties };
    projection(&table, &location)?;
    Ok(table)
}

/// Checks that all table properties are known, and that each partition column has the properties required by its type.
fn projection(table: &Table, location: &str) -> Read<()> {
    let mut left = table.properties.clone();
    if let Some(other) = left.remove("classification").filter(|value| value != "parquet") {
        return Err(format!("{other} is not Parquet"));
    }
    let enabled = left.remove("projection.enabled");
    let template = left.remove("storage.location.template");
    match (enabled.as_deref(), template) {
        (None, None) => (),
        (Some("true"), Some(template)) => {
            if !(template.starts_with(location)
                && template.ends_with('/')
                && !template.ends_with("//"))
            {
                return Err(format!("{template} is not a directory below {location}"));
            }
            for (column, _) in &table.partitioned {
                if !template.contains(&format!("${{{column}}}")) {
                    return Err(format!("{template} has no {column}"));
                }
                column_projection(column, &mut left)?;
            }
        }
        other => return Err(format!("projection is incomplete: {other:?}")),
    }
    left.pop_first().map_or(Ok(()), |(key, _)| Err(format!("{key} is not documented")))
}

fn column_projection(column: &str, left: &mut BTreeMap<String, String>) -> Read<()> {
    let mut take = |what: &str| left.remove(&format!("projection.{column}.{what}"));
    let kind = take("type");
    let mut must = |what: &str| take(what).ok_or(format!("projection.{column}.{what} is missing"));
    match kind.as_deref() {
        Some("injected") => Ok(()),
        Some("enum") => {
            let values = must("values")?;
            // Whitespace would be part of the value.
            let good = values
                .split(',')
                .all(|value| !value.is_empty() && !value.contains(char::is_whitespace));
            if good { Ok(()) } else { Err(format!("{values} are not enum values")) }
        }
        Some("integer") => {
            let range = must("range")?;
            let digits: usize = must("digits")?.parse().map_err(|_| "digits are no number")?;
            match range
                .split_once(',')
                .map(|(first, last)| (first.parse::<u32>(), last.parse::<u32>()))
            {
                Some((Ok(first), Ok(last)))
                    if first <= last && last.to_string().len() <= digits =>
                {
                    Ok(())
                }
                _ => Err(format!("{range} is not a range of whole numbers")),
            }
        }
        Some("date") => {
            let (format, range) = (must("format")?, must("range")?);
            let (first, last) = range.split_once(',').ok_or("a range has two bounds")?;
            // The program writes year limits only in these two forms.
            let year = |text: &str| text == "NOW" || text.len() == 4 && text.parse::<u32>().is_ok();
            let unit = must("interval.unit")?;
            let units =
                ["YEARS", "MONTHS", "WEEKS", "DAYS", "HOURS", "MINUTES", "SECONDS", "MILLIS"];
            let whole = must("interval")?.parse::<u32>().is_ok_and(|interval| interval > 0);
            if format == "yyyy" && year(first) && year(last) && whole && units.contains(&&*unit) {
                Ok(())
            } else {
                Err(format!("{column}: {format}, {range}, {unit} are not a date projection"))
            }
        }
        other => Err(format!("projection.{column}.type is {other:?}")),
    }
}

/// Parses `ALTER TABLE … ADD PARTITION`. Returns each partition's column names.
fn add_partitions(statement: &str) -> Read<Vec<Vec<String>>> {
    let mut reader = Reader(tokens(statement)?.into_iter());
    reader.words("ALTER TABLE")?;
    reader.table_name()?;
    reader.words("ADD")?;
    reader.takes("IF NOT EXISTS");
    let mut partitions = Vec::new();
    while reader.takes("PARTITION") {
        partitions.push(reader.list(|reader| {
            let column = reader.name()?;
            reader.sign('=')?;
            reader.text()?;
            Ok(column)
        })?);
        if reader.takes("LOCATION") {
            let location = reader.text()?;
            if !(location.starts_with("s3://") && location.ends_with('/')) {
                return Err(format!("{location} is not a directory in S3"));
            }
        }
    }
    reader.end()?;
    if partitions.is_empty() { Err("no partition is added".to_owned()) } else { Ok(partitions) }
}

fn repair(statement: &str) -> Read<()> {
    let mut reader = Reader(tokens(statement)?.into_iter());
    reader.words("MSCK REPAIR TABLE")?;
    reader.table_name()?;
    reader.end()
}

const LAKE: [&str; 3] = ["ddl", "--location", "s3://lake/alb"];
const KNOWN: [&str; 6] =
    ["--account", "012345678901", "--account", "123456789012", "--region", "eu-west-1"];
const PARTITION: [&str; 5] = ["account", "region", "year", "month", "day"];

fn print(args: &[&str]) -> Vec<String> {
    let text = run(args).expect(0).stdout;
    text.split_inclusive(";\n").map(str::to_owned).collect()
}

#[test]
fn statements_follow_the_documented_grammar() {
    let world = World::with(gzip(good_lines(2)));
    for layout in ["hive", "plain"] {
        let out = world.out().with_extension(layout);
        world.put(&key(2), gzip("nonsense\n"));
        convert(&[&world.source()], &out, &["--layout", layout, "--max-rejects", "1"]).expect(0);
        let dataset = ["--from-dataset", out.to_str().unwrap()];
        let tables = LogType::ALL.map(LogType::as_str);
        for table in tables.into_iter().chain(["rejects"]) {
            let base = [&LAKE[..], &["--layout", layout, "--log-type", table]].concat();
            let with = |more: &[&str]| print(&[&base[..], more].concat());
            for more in [&[][..], &KNOWN, &["--name", "logs.requests"]] {
                let statements = with(more);
                let [create] = &statements[..] else { panic!("{statements:?}") };
                let table =
                    create_table(create).unwrap_or_else(|error| panic!("{error}: {create}"));
                assert!(create.len() < LONGEST && !table.columns.is_empty());
                let partitioned: Vec<_> = table.partitioned.iter().map(|(name, _)| name).collect();
                assert_eq!(partitioned, PARTITION);
                assert!(table.partitioned.iter().all(|(_, data_type)| data_type == "STRING"));
                assert_eq!(table.properties["projection.enabled"], "true");
            }
            if layout == "hive" {
                let kept = with(&["--no-projection"]);
                assert_eq!(kept.len(), 2);
                let properties = create_table(&kept[0]).unwrap().properties;
                assert_eq!(properties.keys().collect::<Vec<_>>(), ["classification"]);
                repair(kept[1].trim_start()).unwrap();
            }
            if ["access", "rejects"].contains(&table) {
                let kept = with(&[&dataset[..], &["--no-projection"]].concat());
                assert_eq!(kept.len(), 2);
                create_table(&kept[0]).unwrap();
                assert_eq!(add_partitions(kept[1].trim_start()).unwrap(), [PARTITION]);
                assert_eq!(
                    with(&[&dataset[..], &["--partitions"]].concat()),
                    [kept[1].trim_start()]
                );
            }
        }
    }
}

#[test]
fn statements_that_athena_would_reject_do_not_parse() {
    let good = print(&[&LAKE[..], &KNOWN].concat()).remove(0);
    create_table(&good).unwrap();
    for (from, to) in [
        ("CREATE EXTERNAL TABLE", "CREATE TABLE"),
        ("`elb_status_code` int ", "`elb_status_code` integer "),
        ("`elb_status_code` int ", "\"elb_status_code\" int "),
        ("`elb_status_code` int ", "`elb` int "),
        ("STORED AS PARQUET\n", "LOCATION 's3://lake/'\nSTORED AS PARQUET\n"),
        ("\n)\nCOMMENT 'Requests", ",\n)\nCOMMENT 'Requests"),
        ("alb_access_logs/'\nTBL", "alb_access_logs'\nTBL"),
        ("LOCATION 's3:", "LOCATION 'file:"),
        ("day=${day}/'", "day=${day}'"),
        ("month=${month}/", "month=07/"),
        ("'projection.day.digits'", "'projection.day.digit'"),
        ("'projection.year.range' = '2016,NOW'", "'projection.year.range' = '2016'"),
        ("  'projection.year.interval' = '1',\n", ""),
        ("'projection.account.type' = 'enum'", "'projection.account.type' = 'string'"),
        ("012345678901,123456789012", "012345678901, 123456789012"),
        ("'projection.month.range' = '1,12'", "'projection.month.range' = '12,1'"),
        ("'projection.enabled' = 'true',", ""),
        (");\n", ") STORED AS PARQUET;\n"),
        ("target\\'s", "target's"),
    ] {
        assert!(good.contains(from), "{from} is missing in {good}");
        let bad = good.replacen(from, to, 1);
        assert!(create_table(&bad).is_err(), "{to:?} instead of {from:?} is accepted");
    }
    let good =
        "ALTER TABLE `t` ADD IF NOT EXISTS\n  PARTITION (`day` = '01') LOCATION 's3://a/';\n";
    assert_eq!(add_partitions(good).unwrap(), [["day"]]);
    for (from, to) in
        [("PARTITION (`day` = '01') LOCATION 's3://a/'", ""), ("'01'", "01"), ("/'", "'")]
    {
        assert!(add_partitions(&good.replacen(from, to, 1)).is_err(), "{to:?} for {from:?}");
    }
    assert!(repair("MSCK REPAIR TABLE t;\n").is_err());
}
