//! Writes the logs of Classic Load Balancers: one line per request, or per connection to a TCP or SSL listener. As in
//! AWS's deliveries, the objects are uncompressed text. Lines have 12 fields until June 2015 and 15 fields from August
//! 2015 on. Objects from July 2015 contain both kinds of lines.

use anyhow::Result;
use chrono::NaiveDate;

use crate::{Args, Clock, Connection, Object, Output, Pace, Rng, Row, Totals, WINDOW, World};
use crate::{bare, decimal, number, padded, quoted};

/// Writes the Classic Load Balancer's object. The object covers an hour if there are at most 24 objects per day.
pub(crate) fn write(object: &Object<'_>, world: &World, args: &Args) -> Result<Totals> {
    let window = if args.objects_per_day > 24 { WINDOW } else { 3600 };
    let end = object.end / window * window;
    let name = object.stem(&object.balancer.classic, end, true);
    let mut output = Output::text(object.folder.join(format!("{name}.log")))?;
    let rows = args.rows_per_object;
    let mut requests = Requests::new(object, world, rows);
    let pace = Pace::new(end, window, rows);
    let mut clock = Clock::default();
    for row in 0..rows {
        requests.row.time = pace.time(row, &mut requests.rng);
        requests.next();
        let fields = requests.fields();
        requests.row.write_classic(fields, &mut requests.rng, &mut clock, &mut output.text);
        output.end_row()?;
    }
    output.finish()
}

/// Generates the requests of one object.
struct Requests<'a> {
    world: &'a World,
    object: &'a Object<'a>,
    rng: Rng,
    connections: Vec<Connection<'a>>,
    row: Row<'a>,
    /// The start and end of the period in which both 12-field and 15-field lines occur, in microseconds since 1970.
    change: [i64; 2],
}

impl<'a> Requests<'a> {
    fn new(object: &'a Object<'a>, world: &'a World, rows: u64) -> Self {
        let start = |year, month| {
            let day = NaiveDate::from_ymd_opt(year, month, 1).unwrap_or_default();
            day.and_hms_opt(0, 0, 0).unwrap_or_default().and_utc().timestamp_micros()
        };
        let mut requests = Self {
            world,
            object,
            rng: Rng::at(&[object.rng.0, 9]),
            connections: Vec::new(),
            row: Row { balancer: &object.balancer.classic, ..Row::default() },
            change: [start(2015, 7), start(2015, 8)],
        };
        for _ in 0..(rows / 20).clamp(4, 400) {
            let connection = requests.connect();
            requests.connections.push(connection);
        }
        requests
    }

    /// Opens a connection.
    fn connect(&mut self) -> Connection<'a> {
        let kind = |share| match share {
            0..340 => "http",
            340..950 => "https",
            950..980 => "tcp",
            _ => "ssl",
        };
        let mut connection =
            Connection::open(kind, self.world, self.object.balancer, &mut self.rng);
        // Classic Load Balancers do not support TLS 1.3.
        if let Some(tls) = &mut connection.tls {
            *tls = match self.rng.below(100) {
                0..80 => ("ECDHE-RSA-AES128-GCM-SHA256", "TLSv1.2"),
                80..92 => ("ECDHE-RSA-AES256-GCM-SHA384", "TLSv1.2"),
                92..97 => ("ECDHE-RSA-AES128-SHA", "TLSv1.1"),
                _ => ("DHE-RSA-AES128-SHA", "TLSv1"),
            };
        }
        connection
    }

    /// Generates the next request or connection, and the response.
    fn next(&mut self) {
        let slot = self.rng.index(self.connections.len());
        if self.rng.chance(2200) {
            self.connections[slot] = self.connect();
        }
        let connection = self.connections[slot].clone();
        let (rng, row) = (&mut self.rng, &mut self.row);
        row.clear();
        row.kind = connection.kind;
        row.client = &connection.client.address;
        row.client_port = connection.port;
        row.agent = connection.agent;
        if let Some((cipher, version)) = connection.tls {
            row.cipher = cipher;
            row.tls_version = version;
        }
        let group = &self.object.balancer.groups[rng.index(3)];
        if matches!(connection.kind, "tcp" | "ssl") {
            row.target = rng.pick(group.targets.as_slice()).as_str();
            row.times = [Some(rng.below(3)), Some(0), Some(0)];
            row.request.extend_from_slice(b"- - - ");
            row.agent = "-";
            row.received_bytes = rng.log_normal(800, 1.2);
            row.sent_bytes = rng.log_normal(4000, 1.5);
            return;
        }
        let (_, route) = self.world.route(connection.kind, rng);
        row.write_request(&connection, route, self.world, rng);
        match rng.below(1000) {
            // The request is malformed.
            0..3 => {
                row.request.clear();
                row.request.extend_from_slice(b"- http://www.example.com:80- ");
                row.agent = "-";
                row.status = 400;
                row.target_status = Some(0);
                (row.received_bytes, row.sent_bytes) = (0, 0);
            }
            // No instance is healthy.
            3..6 => {
                row.status = 503;
                row.target_status = Some(0);
                (row.received_bytes, row.sent_bytes) = (0, 0);
            }
            _ => {
                row.forward(route, group, None, rng);
                row.received_bytes = match route.method {
                    "POST" | "PUT" | "PATCH" => rng.log_normal(1100, 0.8),
                    _ => 0,
                };
                // No response was received, so the load balancer answers.
                if row.target_status.is_none() {
                    row.status = 504;
                    row.target_status = Some(0);
                    row.sent_bytes = 0;
                }
            }
        }
    }

    /// Returns the number of fields in the current row's line.
    fn fields(&mut self) -> u8 {
        let [first, last] = self.change;
        match self.row.time {
            time if time < first => 12,
            time if time < last && self.rng.chance(5000) => 12,
            _ => 15,
        }
    }
}

impl Row<'_> {
    /// Appends the current row as a Classic Load Balancer log line.
    fn write_classic(&self, fields: u8, rng: &mut Rng, clock: &mut Clock, out: &mut Vec<u8>) {
        clock.write(self.time, out);
        bare(self.balancer, out);
        bare(self.client, out);
        out.push(b':');
        decimal(self.client_port, out);
        bare(self.target, out);
        for time in self.times {
            out.push(b' ');
            match time {
                Some(millis) => {
                    let micros = millis * 1000 + 20 + rng.below(80);
                    decimal(micros / 1_000_000, out);
                    out.push(b'.');
                    padded::<6>(micros % 1_000_000, out);
                }
                None => out.extend_from_slice(b"-1"),
            }
        }
        let has_status = !matches!(self.kind, "tcp" | "ssl");
        number(Some(self.status).filter(|_| has_status), out);
        number(self.target_status.filter(|_| has_status), out);
        number(Some(self.received_bytes), out);
        number(Some(self.sent_bytes), out);
        quoted(&self.request, out);
        if fields >= 15 {
            quoted(self.agent.as_bytes(), out);
            bare(self.cipher, out);
            bare(self.tls_version, out);
        }
        out.push(b'\n');
    }
}
