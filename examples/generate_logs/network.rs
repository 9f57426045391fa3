//! Writes the logs of Network Load Balancers: one line per TLS connection.
//! As in AWS's logs, the number of fields depends on the date: 18 until June 2020, 21 until April 2023, and 22 since
//! then.

use anyhow::Result;
use chrono::NaiveDate;

use crate::{Balancer, Clock, Object, Output, Pace, Rng, Totals, WINDOW, World};
use crate::{bare, decimal, number};

/// Writes the Network Load Balancer's object. `rows` is the number of connections.
pub(crate) fn write(object: &Object<'_>, world: &World, rows: u64) -> Result<Totals> {
    let name = object.stem(&object.balancer.network.replace('/', "."), object.end, false);
    let mut output = Output::gzip(object.folder.join(format!("{name}.log.gz")))?;
    let mut rng = Rng::at(&[object.rng.0, 8]);
    let pace = Pace::new(object.end, WINDOW, rows);
    let mut clocks = [Clock::default(), Clock::default()];
    for row in 0..rows {
        let time = pace.time(row, &mut rng);
        let era = Era::of(time);
        let connection = Connection::new(time, era, object, world, &mut rng);
        connection.write(era, object.balancer, &mut clocks, &mut output.text);
        output.end_row()?;
    }
    output.finish()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Era {
    /// 18 fields, version 1.0.
    First,
    /// 21 fields: application protocols.
    Alpn,
    /// 22 fields: time of creation.
    Created,
    /// 22 fields, with a key exchange.
    KeyExchange,
}

impl Era {
    /// Returns the era of a time, given in microseconds since 1970.
    fn of(time: i64) -> Self {
        let since = |year, month| {
            let day = NaiveDate::from_ymd_opt(year, month, 1).unwrap_or_default();
            time >= day.and_hms_opt(0, 0, 0).unwrap_or_default().and_utc().timestamp_micros()
        };
        match () {
            () if since(2026, 4) => Self::KeyExchange,
            () if since(2023, 4) => Self::Created,
            () if since(2020, 6) => Self::Alpn,
            () => Self::First,
        }
    }
}

/// A TLS connection. Missing text is `-`.
#[derive(Debug)]
struct Connection<'a> {
    /// End of the connection, in microseconds since 1970.
    time: i64,
    client: &'a str,
    client_port: u64,
    /// `address:port`
    destination: String,
    /// Durations of the connection and of the handshake, in milliseconds.
    millis: u64,
    handshake: Option<u64>,
    received_bytes: u64,
    sent_bytes: u64,
    alert: Option<u64>,
    certificate: &'a str,
    cipher: &'static str,
    tls_version: &'static str,
    key_exchange: &'static str,
    domain: &'a str,
    /// Application protocol that the client and the target use.
    protocol: &'static str,
    /// Application protocols that the client offered.
    offer: &'static str,
}

impl<'a> Connection<'a> {
    fn new(time: i64, era: Era, object: &Object<'a>, world: &'a World, rng: &mut Rng) -> Self {
        let balancer = object.balancer;
        let index = world.client_skew.draw(rng);
        let group = &balancer.groups[[0, 1, 1, 2][rng.index(4)]];
        let destination = if era == Era::First {
            // Version 1.0 logs the address of the listener.
            format!("{}:443", balancer.nodes[object.node])
        } else {
            rng.pick(group.targets.as_slice()).clone()
        };
        let mut connection = Self {
            time,
            client: &world.clients[index].address,
            client_port: rng.between(1024, 65_535),
            destination,
            millis: 1 + rng.below(300),
            handshake: None,
            received_bytes: 0,
            sent_bytes: 0,
            alert: None,
            certificate: "-",
            cipher: "-",
            tls_version: "-",
            key_exchange: "-",
            domain: "-",
            protocol: "-",
            offer: "-",
        };
        // The handshake fails for scanners and for clients that reject the certificate.
        match rng.below(1000) {
            0..12 => {}
            12..18 => connection.alert = Some(*rng.pick(&[42, 46, 48])),
            _ => connection.complete(index, balancer, world, rng),
        }
        connection
    }

    /// Completes the handshake with the client at the given index in [`World::clients`].
    fn complete(&mut self, client: usize, balancer: &'a Balancer, world: &World, rng: &mut Rng) {
        let handshake = 1 + rng.log_normal(14, 0.7);
        self.handshake = Some(handshake);
        self.millis = handshake + rng.log_normal(5000, 1.8);
        self.received_bytes = 120 + rng.log_normal(900, 1.2);
        self.sent_bytes = 140 + rng.log_normal(5200, 1.6);
        let host = &balancer.hosts[[0, 0, 0, 1, 1, 2][rng.index(6)]];
        self.certificate = &host.certificate;
        // A client always uses the same software.
        let mut habit = Rng::at(&[world.seed, 9, client as u64]);
        (self.cipher, self.tls_version, self.key_exchange) = match habit.below(100) {
            0..70 => ("TLS_AES_128_GCM_SHA256", "tlsv13", "x25519"),
            70..80 => ("TLS_AES_256_GCM_SHA384", "tlsv13", "secp256r1"),
            80..97 => ("ECDHE-RSA-AES128-GCM-SHA256", "tlsv12", "secp256r1"),
            97..99 => ("ECDHE-RSA-AES128-SHA", "tlsv12", "secp256r1"),
            _ => ("AES128-SHA", "tlsv10", "-"),
        };
        (self.protocol, self.offer) = match habit.below(100) {
            0..55 => ("h2", r#""h2","http/1.1""#),
            55..75 => ("http/1.1", r#""http/1.1""#),
            75..80 => ("h2", r#""h2""#),
            80..82 => ("http/1.0", r#""http/1.0""#),
            82..84 => ("-", r#""mqtt""#),
            _ => ("-", "-"),
        };
        self.domain = if habit.chance(300) { "-" } else { &host.name };
    }

    /// Appends the connection's line.
    fn write(&self, era: Era, balancer: &Balancer, clocks: &mut [Clock; 2], out: &mut Vec<u8>) {
        let [ended, created] = clocks;
        out.extend_from_slice(if era == Era::First { b"tls 1.0 " } else { b"tls 2.0 " });
        ended.write_seconds(self.time, out);
        bare(&balancer.network, out);
        bare(&balancer.listener, out);
        bare(self.client, out);
        out.push(b':');
        decimal(self.client_port, out);
        bare(&self.destination, out);
        number(Some(self.millis), out);
        number(self.handshake, out);
        number(Some(self.received_bytes), out);
        number(Some(self.sent_bytes), out);
        number(self.alert, out);
        bare(self.certificate, out);
        bare("-", out);
        bare(self.cipher, out);
        bare(self.tls_version, out);
        bare(if era >= Era::KeyExchange { self.key_exchange } else { "-" }, out);
        bare(self.domain, out);
        if era >= Era::Alpn {
            bare(self.protocol, out);
            bare(self.protocol, out);
            bare(self.offer, out);
        }
        if era >= Era::Created {
            out.push(b' ');
            created.write_seconds(self.time - self.millis as i64 * 1000, out);
        }
        out.push(b'\n');
    }
}
