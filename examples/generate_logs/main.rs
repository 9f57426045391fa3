//! Generates a tree of load balancer logs of any size from a seed. `--logs` selects the log types. By default, the tree
//! contains only access logs. `--all-logs` adds the connection and health check logs for the same load balancers and
//! times, and the logs of a Network Load Balancer and a Classic Load Balancer for each Application Load Balancer. The
//! selection does not affect the contents of the selected logs.
//!
//! The output is a pure function of the arguments. Every object has a separate random generator, seeded with the run's
//! seed and the object's position in the tree, so the output does not depend on the number of threads. Lines are
//! streamed through gzip, so memory does not grow with the size of an object.
//!
//! The following properties make the logs realistic and about as compressible as real logs:
//!
//! - a few clients send most of the requests, over connections that they keep open for a while;
//! - about sixty routes have IDs, slugs and query strings, so that URLs vary but also repeat;
//! - durations are log-normal, sizes depend on the route, and status codes are mixed;
//! - a small share of the requests are redirects, fixed responses, Lambda invocations, requests blocked by WAF,
//!   timeouts, WebSockets and malformed requests;
//! - trace and connection IDs are random, as in real logs, and therefore do not compress.
//!
//! The logs contain no real addresses. Client addresses are from the private, shared and benchmarking IPv4 ranges and
//! from the IPv6 documentation range. Host names are in the example domains.

#![allow(clippy::print_stderr)] // a program, not the library

mod classic;
mod network;

use std::collections::HashSet;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::PathBuf;

use alb2parquet::LogType;
use anyhow::{Context, Result};
use chrono::{DateTime, Days, NaiveDate, NaiveTime, TimeDelta};
use clap::Parser;
use flate2::Compression;
use flate2::write::GzEncoder;
use rayon::prelude::*;

/// Generate a tree of load balancer logs.
#[derive(Debug, Parser)]
struct Args {
    /// Directory to write `AWSLogs/` to.
    out: PathBuf,
    /// Seed for the random number generator.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Number of accounts; the ID of the second begins with a zero.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=100))]
    accounts: u32,
    /// Number of regions per account.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=8))]
    regions: u32,
    /// Number of load balancers of each type per region.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=1000))]
    balancers: u32,
    /// First day, as `YYYY-MM-DD`.
    #[arg(long, default_value = "2025-07-01")]
    from: NaiveDate,
    /// Number of days.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=3660))]
    days: u32,
    /// Number of objects per load balancer and day, spread over the day's five-minute windows.
    #[arg(long, default_value_t = 48, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    objects_per_day: u32,
    /// Number of rows per object.
    #[arg(long, default_value_t = 8000)]
    rows_per_object: u64,
    /// Number of fields per access log line: 30 as in 2025, 36 as in 2026. In the logs of Network and Classic Load
    /// Balancers, the day determines the number of fields.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u8).range(29..=36))]
    fields: u8,
    /// Log types to write, separated by commas: access, connection, health_check, nlb_tls, classic.
    #[arg(long, value_delimiter = ',', default_value = "access", value_parser = log_type)]
    logs: Vec<LogType>,
    /// Write all log types.
    #[arg(long, conflicts_with = "logs")]
    all_logs: bool,
    /// Write only the first object of each log type.
    #[arg(long)]
    single_object: bool,
}

impl Args {
    fn writes(&self, log_type: LogType) -> bool {
        self.all_logs || self.logs.contains(&log_type)
    }
}

fn log_type(name: &str) -> Result<LogType, String> {
    let names = LogType::ALL.map(LogType::as_str).join(", ");
    LogType::named(name).ok_or_else(|| format!("expected one of {names}"))
}

fn main() -> Result<()> {
    let args = Args::parse();
    let world = World::new(args.seed);
    let balancers = Balancer::all(&args);
    let objects = Object::all(&args, &balancers)?;
    for Object { folder, .. } in &objects {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    let total = objects
        .par_iter()
        // Each thread takes one object at a time, because objects are large.
        .with_max_len(1)
        .map(|object| object.write(&world, &args))
        .try_reduce(Totals::default, |left, right| Ok(left + right))?;
    eprintln!(
        "{} objects, {} rows, {} bytes decompressed, {} bytes compressed",
        total.objects, total.rows, total.decompressed, total.compressed,
    );
    Ok(())
}

/// The amount of data that was written.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    objects: u64,
    rows: u64,
    decompressed: u64,
    compressed: u64,
}

impl std::ops::Add for Totals {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            objects: self.objects + other.objects,
            rows: self.rows + other.rows,
            decompressed: self.decompressed + other.decompressed,
            compressed: self.compressed + other.compressed,
        }
    }
}

// ---------------------------------------------------------------------------------------------------
// Random numbers
// ---------------------------------------------------------------------------------------------------

/// A SplitMix64 generator, which is small, fast, and random enough for generated text.
#[derive(Clone, Debug)]
struct Rng(u64);

impl Rng {
    /// Returns the generator for a position in the tree, given as a path of numbers.
    fn at(path: &[u64]) -> Self {
        let mut rng = Self(0x0a1b_2c3d_4e5f_6071);
        for &step in path {
            rng.0 = rng.next() ^ step.wrapping_mul(0xd6e8_feb8_6659_fd93);
        }
        rng
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below `bound`.
    fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// Returns a number from `low` to `high`, inclusive.
    fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// Returns `true` with a probability of `share` / 10,000.
    fn chance(&mut self, share: u64) -> bool {
        self.below(10_000) < share
    }

    fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.index(items.len())]
    }

    /// Returns an index into a slice of length `len`.
    fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).expect("below a usize")
    }

    /// Returns a log-normal random number with the given median. `spread` is the standard deviation of the logarithm.
    ///
    /// Uses only additions and multiplications, which give the same results on every machine. The results of math
    /// library functions may differ.
    fn log_normal(&mut self, median: u64, spread: f64) -> u64 {
        let bits = self.next();
        let sum: u64 = (0..4).map(|part| (bits >> (16 * part)) & 0xffff).sum();
        // The sum of four uniform numbers is approximately normal.
        let normal = (sum as f64 - 131_070.0) / 37_837.0;
        let mut factor = 1.0 + normal * spread / 1024.0;
        for _ in 0..10 {
            factor *= factor;
        }
        (median as f64 * factor) as u64
    }

    /// Appends random lowercase hexadecimal digits.
    fn hex(&mut self, digits: usize, out: &mut Vec<u8>) {
        let mut left = digits;
        while left > 0 {
            let mut bits = self.next();
            for _ in 0..left.min(16) {
                out.push(b"0123456789abcdef"[(bits & 15) as usize]);
                bits >>= 4;
            }
            left -= left.min(16);
        }
    }

    fn hex_string(&mut self, digits: usize) -> String {
        (0..digits).fold(String::with_capacity(digits), |mut text, _| {
            text.push(char::from(b"0123456789abcdef"[self.index(16)]));
            text
        })
    }

    /// Returns a name of random lowercase letters and digits.
    fn name(&mut self, length: usize) -> String {
        let letters = b"abcdefghijklmnopqrstuvwxyz0123456789";
        (0..length).map(|_| char::from(letters[self.index(letters.len())])).collect()
    }

    /// Appends a random ID in the form 8-4-4-4-12.
    fn uuid(&mut self, out: &mut Vec<u8>) {
        for (at, digits) in [8, 4, 4, 4, 12].into_iter().enumerate() {
            if at > 0 {
                out.push(b'-');
            }
            self.hex(digits, out);
        }
    }
}

/// A distribution over ranks that favors the first ranks: the n-th rank has the weight 1/(n + k).
#[derive(Debug)]
struct Skew {
    /// Sum of the weights up to and including each rank.
    sums: Vec<u64>,
}

impl Skew {
    /// Returns a distribution with `flatness` as k. A larger k makes the weights of the first ranks more similar.
    fn new(ranks: usize, flatness: u64) -> Self {
        let sums = (1..=ranks as u64)
            .scan(0, |sum, rank| {
                *sum += (1 << 40) / (rank + flatness);
                Some(*sum)
            })
            .collect();
        Self { sums }
    }

    fn draw(&self, rng: &mut Rng) -> usize {
        let at = rng.below(self.sums[self.sums.len() - 1]);
        self.sums.partition_point(|&sum| sum <= at)
    }
}

// ---------------------------------------------------------------------------------------------------
// The world that all load balancers share
// ---------------------------------------------------------------------------------------------------

/// Clients, user agents and routes.
#[derive(Debug)]
struct World {
    seed: u64,
    clients: Vec<Client>,
    client_skew: Skew,
    agents: Vec<String>,
    routes: Vec<Route>,
    route_skew: Skew,
    calls: Vec<Route>,
    sockets: Vec<Route>,
    number_skew: Skew,
    slugs: Vec<String>,
    slug_skew: Skew,
}

/// A client that sends requests.
#[derive(Debug)]
struct Client {
    address: String,
    /// Index of the client's most common user agent in [`World::agents`].
    agent: usize,
}

/// Number of client addresses.
const CLIENTS: usize = 20_000;
/// Number of different IDs for orders, products and other items.
const NUMBERS: usize = 50_000;

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::at(&[seed, 1]);
        let agents = agents();
        let agent_skew = Skew::new(agents.len(), 1);
        let clients = (0..CLIENTS)
            .map(|_| Client { address: client_address(&mut rng), agent: agent_skew.draw(&mut rng) })
            .collect();
        let parse = |lines: &[&'static str]| -> Vec<Route> {
            lines.iter().map(|line| Route::parse(line)).collect()
        };
        let routes = parse(ROUTES);
        let slugs = (0..4000)
            .map(|_| format!("{}-{}-{}", rng.pick(WORDS), rng.pick(WORDS), rng.pick(WORDS)))
            .collect::<Vec<_>>();
        Self {
            seed,
            clients,
            client_skew: Skew::new(CLIENTS, 20),
            agents,
            route_skew: Skew::new(routes.len(), 6),
            routes,
            calls: parse(CALLS),
            sockets: parse(SOCKETS),
            number_skew: Skew::new(NUMBERS, 100),
            slug_skew: Skew::new(slugs.len(), 30),
            slugs,
        }
    }

    /// Returns a random route for the given kind of connection, and the route's index.
    fn route(&self, kind: &str, rng: &mut Rng) -> (usize, &Route) {
        let (routes, index) = match kind {
            "grpcs" => (&self.calls, rng.index(self.calls.len())),
            "ws" | "wss" => (&self.sockets, rng.index(self.sockets.len())),
            _ => (&self.routes, self.route_skew.draw(rng)),
        };
        (index, &routes[index])
    }
}

fn client_address(rng: &mut Rng) -> String {
    let (second, third, fourth) = (rng.below(256), rng.below(256), rng.between(1, 254));
    match rng.below(100) {
        0..12 => format!(
            "2001:db8:{:x}:{:x}:{:x}:{:x}:{:x}:{:x}",
            rng.below(0x1_0000),
            rng.below(0x1_0000),
            rng.between(1, 0xffff),
            rng.between(1, 0xffff),
            rng.between(1, 0xffff),
            rng.between(1, 0xffff),
        ),
        12..16 => format!("2001:db8:{:x}::{:x}", rng.below(0x1_0000), rng.between(1, 0xffff)),
        16..40 => format!("198.{}.{third}.{fourth}", 18 + second % 2),
        40..70 => format!("100.{}.{third}.{fourth}", 64 + second % 64),
        70..85 => format!("172.{}.{third}.{fourth}", 16 + second % 16),
        _ => format!("10.{second}.{third}.{fourth}"),
    }
}

/// Returns about 150 user agents, the most common first.
fn agents() -> Vec<String> {
    const SYSTEMS: [&str; 4] = [
        "Windows NT 10.0; Win64; x64",
        "Macintosh; Intel Mac OS X 10_15_7",
        "X11; Linux x86_64",
        "Linux; Android 10; K",
    ];
    let mut agents: Vec<String> = [
        "okhttp/4.12.0",
        "Go-http-client/2.0",
        "python-requests/2.32.3",
        "ExampleShop/7.4.1 (iPhone; iOS 18.5; Scale/3.00)",
        "ExampleShop/7.4.0 (iPhone; iOS 17.6.1; Scale/3.00)",
        "ExampleShop/7.3.2 (Android 14; Pixel 8)",
        "axios/1.7.9",
        "curl/8.7.1",
        "node",
        "-",
    ]
    .map(String::from)
    .to_vec();
    for version in (124..=138).rev() {
        for system in SYSTEMS {
            let mobile = if system.contains("Android") { "Mobile " } else { "" };
            agents.push(format!(
                "Mozilla/5.0 ({system}) AppleWebKit/537.36 (KHTML, like Gecko) \
                 Chrome/{version}.0.0.0 {mobile}Safari/537.36"
            ));
        }
    }
    for (system, safari) in [("18_5", "18.5"), ("17_6", "17.6"), ("16_7", "16.6"), ("15_8", "15.6")]
    {
        for device in ["iPhone; CPU iPhone OS", "iPad; CPU OS"] {
            agents.push(format!(
                "Mozilla/5.0 ({device} {system} like Mac OS X) AppleWebKit/605.1.15 \
                 (KHTML, like Gecko) Version/{safari} Mobile/15E148 Safari/604.1"
            ));
        }
    }
    for version in (118..=140).rev() {
        for system in &SYSTEMS[..2] {
            agents.push(format!(
                "Mozilla/5.0 ({system}; rv:{version}.0) Gecko/20100101 Firefox/{version}.0"
            ));
        }
    }
    for (name, major) in [("Crawler", 2), ("Uptime", 5), ("Preview", 1), ("Feed", 3), ("Scan", 0)] {
        for minor in 0..3 {
            agents.push(format!(
                "Mozilla/5.0 (compatible; Example{name}/{major}.{minor}; \
                 +https://{}.example.org/about)",
                name.to_lowercase()
            ));
        }
    }
    for version in ["11.0.2", "17.0.15", "21.0.7"] {
        agents.push(format!("Apache-HttpClient/5.4 (Java/{version})"));
        agents.push(format!("Java-http-client/{version}"));
        agents.push(format!("grpc-java-netty/1.6{}", &version[..1]));
    }
    // The load balancer escapes quotes, backslashes and bytes that are not ASCII.
    agents.push(r"ExampleKiosk/2.1 (\x22front desk\x22; C:\x5CKiosk)".to_owned());
    agents.push(r"ExampleReader/1.0 (\xC3\xA9dition)".to_owned());
    agents
}

const WORDS: &[&str] = &[
    "amber", "autumn", "basket", "birch", "blue", "bottle", "brass", "canvas", "cedar", "chair",
    "classic", "cloud", "copper", "cotton", "cover", "desk", "double", "garden", "glass", "green",
    "handle", "harbor", "kettle", "lamp", "large", "leather", "light", "linen", "marble", "mini",
    "mirror", "night", "oak", "olive", "outdoor", "paper", "pillow", "pocket", "river", "round",
    "set", "shelf", "silver", "slim", "small", "smoke", "spring", "steel", "stone", "storm",
    "summer", "table", "travel", "velvet", "walnut", "warm", "white", "willow", "winter", "wool",
];

/// The routes, the most common first: method, median milliseconds, median sent bytes, path.
/// In a path, `{n}` is a number, `{slug}` is several words, `{page}` is a small number, `{word}` is one word, and
/// `{uuid}` and `{hex}` are random. A few numbers and slugs occur often.
const ROUTES: &[&str] = &[
    "GET 4 1830 /api/v2/products/{n}",
    "GET 9 6400 /api/v2/products?category={word}&page={page}&per_page=24",
    "GET 2 310 /api/v2/session",
    "POST 6 240 /api/v2/events",
    "GET 3 920 /api/v2/cart/{uuid}",
    "GET 2 15200 /assets/app.{hex}.js",
    "GET 14 8800 /api/v2/search?q={word}+{word}&sort=relevance&page={page}",
    "GET 35 18400 /p/{slug}?ref={word}",
    "GET 2 24100 /images/products/{n}/large.webp?v={page}",
    "POST 22 610 /api/v2/cart/{uuid}/items",
    "GET 28 21000 /",
    "GET 5 1400 /api/v2/products/{n}/reviews?limit=10&offset={page}0",
    "GET 3 780 /api/v2/prices?ids={n},{n},{n},{n}&currency=EUR",
    "GET 2 9800 /images/products/{n}/thumb.webp",
    "GET 6 2100 /api/v2/recommendations?product={n}&session={uuid}",
    "PUT 18 350 /api/v2/cart/{uuid}/items/{n}",
    "GET 42 16800 /c/{word}/{word}?page={page}",
    "GET 11 1250 /api/v2/orders/{n}",
    "POST 1 180 /collect?v=2&tid=EX-{page}&cid={n}.{n}&en=page_view",
    "GET 2 640 /api/v2/stock/{n}?warehouse={word}",
    "OPTIONS 1 220 /api/v2/cart/{uuid}/items",
    "GET 8 3300 /api/v2/customers/{n}/addresses",
    "HEAD 2 190 /health/ready",
    "GET 6 2700 /api/v2/menus/{word}?locale=en-GB",
    "GET 2 41000 /assets/vendor.{hex}.js",
    "GET 2 7300 /assets/app.{hex}.css",
    "POST 95 890 /api/v2/checkout/{uuid}/payment",
    "GET 17 1120 /api/v2/shipping/quotes?cart={uuid}&country=IE&postcode={n}",
    "DELETE 12 160 /api/v2/cart/{uuid}/items/{n}",
    "GET 12 5200 /blog/{slug}",
    "GET 4 560 /api/v1/flags?client=web&build={hex}",
    "POST 48 1500 /graphql?operation=ProductPage",
    "POST 61 2900 /graphql?operation=CategoryListing",
    "GET 3 1180 /api/v2/suggest?q={word}",
    "PATCH 16 420 /api/v2/customers/{n}",
    "GET 7 4100 /api/v2/stores?lat=53.{n}&lon=-6.{n}&radius=25",
    "POST 130 720 /api/v2/login",
    "GET 2 130 /favicon.ico",
    "GET 2 260 /robots.txt",
    "GET 210 96000 /sitemaps/products-{page}.xml",
    "POST 75 540 /api/v2/orders",
    "GET 19 11600 /account/orders?page={page}",
    "GET 5 900 /api/v2/orders/{n}/tracking",
    "POST 9 210 /api/v2/products/{n}/reviews/{n}/votes",
    "GET 26 13900 /help/{slug}",
    "POST 310 1300 /webhooks/payments?source={word}&delivery={uuid}",
    "GET 820 240000 /api/v2/exports/{uuid}/download?format=csv",
    "POST 420 380 /api/v2/uploads/{uuid}/parts/{page}",
    "GET 55 30200 /admin/orders?status=open&from=2025-06-01&to=2025-06-30&q={word}&page={page}",
    "GET 33 5800 /admin/customers/{n}",
    "PUT 44 470 /admin/products/{n}",
    "GET 6 1700 /api/v2/wishlists/{uuid}?expand=items,prices,stock",
    "GET 70 2400 /legacy/item.php?id={n}&cat={page}&sid={hex}",
    "GET 1 150 /.well-known/apple-app-site-association",
    "GET 3 480 /wp-login.php",
    "GET 2 470 /.env",
    "GET 15 1900 /api/v2/coupons/{hex}?cart={uuid}",
    "GET 25 7200 /feeds/{word}.xml?utm_source={word}&utm_medium=feed&utm_campaign={slug}",
    "POST 180 600 /login?return=%2Faccount%2Forders%3Fpage%3D{page}",
    "GET 5 2200 /api/v2/translations/en-GB?keys={word}.{word},{word}.{word}&build={hex}",
];

/// The routes of gRPC calls, in the same format.
const CALLS: &[&str] =
    &["POST 3 90 /example.stock.v1.Stock/Reserve", "POST 2 120 /example.prices.v1.Prices/Get"];

/// The routes of WebSockets, in the same format.
const SOCKETS: &[&str] = &["GET 3 0 /live/orders?session={uuid}", "GET 3 0 /live/chat/{n}"];

/// A kind of request: a parsed line of [`ROUTES`].
#[derive(Debug)]
struct Route {
    method: &'static str,
    /// Median response time of a target, in milliseconds.
    millis: u64,
    /// Median size of the response in bytes.
    bytes: u64,
    path: Vec<Segment>,
}

/// A segment of a path.
#[derive(Debug)]
enum Segment {
    Text(&'static str),
    Number,
    Page,
    Slug,
    Word,
    Uuid,
    Hex,
}

impl Route {
    fn parse(line: &'static str) -> Self {
        let mut parts = line.split(' ');
        let mut part = || parts.next().expect("a route has four parts");
        let (method, millis, bytes, mut rest) = (part(), part(), part(), part());
        let mut path = Vec::new();
        while let Some((text, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').expect("a brace is closed");
            path.push(Segment::Text(text));
            path.push(match name {
                "n" => Segment::Number,
                "page" => Segment::Page,
                "slug" => Segment::Slug,
                "word" => Segment::Word,
                "uuid" => Segment::Uuid,
                "hex" => Segment::Hex,
                _ => unreachable!("unknown segment: {name}"),
            });
            rest = after;
        }
        path.push(Segment::Text(rest));
        Self {
            method,
            millis: millis.parse().expect("a number"),
            bytes: bytes.parse().expect("a number"),
            path,
        }
    }

    fn write_path(&self, world: &World, rng: &mut Rng, out: &mut Vec<u8>) {
        for segment in &self.path {
            match segment {
                Segment::Text(text) => out.extend_from_slice(text.as_bytes()),
                Segment::Number => decimal(1000 + world.number_skew.draw(rng) as u64 * 7, out),
                Segment::Page => decimal(1 + rng.below(12) * rng.below(12) / 11, out),
                Segment::Slug => {
                    out.extend_from_slice(world.slugs[world.slug_skew.draw(rng)].as_bytes());
                }
                Segment::Word => out.extend_from_slice(rng.pick(WORDS).as_bytes()),
                // Half of the random IDs occur more than once.
                Segment::Uuid if rng.chance(5000) => {
                    Rng::at(&[world.seed, 2, world.number_skew.draw(rng) as u64]).uuid(out);
                }
                Segment::Uuid => rng.uuid(out),
                Segment::Hex => Rng::at(&[world.seed, 3, rng.below(8)]).hex(8, out),
            }
        }
    }
}

// ---------------------------------------------------------------------------------------------------
// Load balancers
// ---------------------------------------------------------------------------------------------------

/// An Application Load Balancer and its targets, and a Network and a Classic Load Balancer for the same targets.
#[derive(Debug)]
struct Balancer {
    /// Position of the load balancer in the tree: account, region, load balancer.
    place: [u64; 3],
    account: String,
    region: &'static str,
    /// `app/name/id`
    resource: String,
    /// Resource ID of the Network Load Balancer: `net/name/id`.
    network: String,
    /// Resource ID of the Network Load Balancer's TLS listener.
    listener: String,
    /// Name of the Classic Load Balancer.
    classic: String,
    /// Addresses of the load balancer's nodes. Each object is written by one node.
    nodes: Vec<String>,
    hosts: Vec<Host>,
    groups: Vec<TargetGroup>,
    lambda_group: String,
}

/// A host name and its certificate.
#[derive(Debug)]
struct Host {
    name: String,
    certificate: String,
}

#[derive(Debug)]
struct TargetGroup {
    arn: String,
    /// `address:port`
    targets: Vec<String>,
}

const REGIONS: [&str; 8] = [
    "eu-west-1",
    "us-east-1",
    "ap-northeast-1",
    "eu-central-1",
    "us-west-2",
    "ap-southeast-2",
    "sa-east-1",
    "ca-central-1",
];

const BALANCERS: [&str; 8] = [
    "shop-web",
    "public-api",
    "checkout",
    "media",
    "partner-api",
    "back-office",
    "mobile",
    "search",
];

impl Balancer {
    fn all(args: &Args) -> Vec<Self> {
        let mut all = Vec::new();
        for account in 0..args.accounts {
            for region in 0..args.regions {
                for balancer in 0..args.balancers {
                    all.push(Self::new(args.seed, [account, region, balancer]));
                }
            }
        }
        all
    }

    fn new(seed: u64, place: [u32; 3]) -> Self {
        let place = place.map(u64::from);
        let [account_index, region_index, index] = place;
        let account_digits = Rng::at(&[seed, 4, account_index]).below(100_000_000_000);
        let account = format!(
            "{}{account_digits:011}",
            if account_index == 1 { 0 } else { 1 + account_index % 9 }
        );
        let region = REGIONS[region_index as usize];

        let mut rng = Rng::at(&[seed, 5, account_index, region_index, index]);
        let mut name = BALANCERS[index as usize % BALANCERS.len()].to_owned();
        if index as usize >= BALANCERS.len() {
            let _ = write!(name, "-{}", index as usize / BALANCERS.len() + 1);
        }
        let nodes = (0..3)
            .map(|zone| format!("10.{}.{}.{}", 20 + index % 200, zone, rng.between(4, 250)))
            .collect();
        let hosts = ["www.example.com", "api.example.com", "shop.example.org"]
            .map(|host| {
                let mut certificate = Vec::new();
                rng.uuid(&mut certificate);
                Host {
                    name: host.to_owned(),
                    certificate: format!(
                        "arn:aws:acm:{region}:{account}:certificate/{}",
                        String::from_utf8_lossy(&certificate)
                    ),
                }
            })
            .into();
        let group_arn = |rng: &mut Rng, role: &str| {
            format!(
                "arn:aws:elasticloadbalancing:{region}:{account}:targetgroup/{name}-{role}/{}",
                rng.hex_string(16)
            )
        };
        let groups = [("web", 8080, 6), ("api", 8443, 8), ("edge", 80, 3), ("jobs", 3000, 2)]
            .map(|(role, port, targets)| TargetGroup {
                arn: group_arn(&mut rng, role),
                targets: (0..targets)
                    .map(|_| {
                        format!(
                            "10.{}.{}.{}:{port}",
                            20 + index % 200,
                            rng.between(10, 14),
                            rng.between(4, 250)
                        )
                    })
                    .collect(),
            })
            .into();
        let lambda_group = group_arn(&mut rng, "fn");
        let resource = format!("app/{name}/{}", rng.hex_string(16));
        let mut rng = Rng::at(&[seed, 8, account_index, region_index, index]);
        let network = format!("net/{name}-tls/{}", rng.hex_string(16));
        let listener = rng.hex_string(16);
        let classic = format!("{name}-classic");
        Self {
            place,
            account,
            region,
            resource,
            network,
            listener,
            classic,
            nodes,
            hosts,
            groups,
            lambda_group,
        }
    }
}

// ---------------------------------------------------------------------------------------------------
// Objects
// ---------------------------------------------------------------------------------------------------

/// Length of the window that an object covers, in seconds. Objects of Classic Load Balancers may cover an hour instead.
const WINDOW: i64 = 300;

/// A node's objects for one window: one object per log type.
#[derive(Debug)]
struct Object<'a> {
    balancer: &'a Balancer,
    /// Index of the node in [`Balancer::nodes`].
    node: usize,
    /// End of the window, in seconds since 1970.
    end: i64,
    folder: PathBuf,
    /// Random part of the object names.
    suffix: String,
    rng: Rng,
}

impl<'a> Object<'a> {
    /// Returns all objects in tree order.
    fn all(args: &Args, balancers: &'a [Balancer]) -> Result<Vec<Self>> {
        let mut all = Vec::new();
        for balancer in balancers {
            for day in 0..args.days {
                let date =
                    args.from.checked_add_days(Days::new(day.into())).context("no such day")?;
                for index in 0..args.objects_per_day {
                    all.push(Self::new(args, balancer, date, index));
                    if args.single_object {
                        return Ok(all);
                    }
                }
            }
        }
        Ok(all)
    }

    fn new(args: &Args, balancer: &'a Balancer, date: NaiveDate, index: u32) -> Self {
        // The first window ends at midnight, so it contains the last minutes of the previous day. Like AWS, this code
        // chooses the directory by the delivery time, not by the request times.
        let window = i64::from(index) * 288 / i64::from(args.objects_per_day);
        let start_of_day = date.and_time(NaiveTime::MIN).and_utc();
        let end = start_of_day + TimeDelta::seconds(window * WINDOW);

        let [account, region, place] = balancer.place;
        let day = start_of_day.timestamp() as u64 / 86_400;
        let mut rng = Rng::at(&[args.seed, 6, account, region, place, day, index.into()]);
        let node = rng.index(balancer.nodes.len());
        let suffix = rng.name(8);
        let folder = args.out.join(format!(
            "AWSLogs/{}/elasticloadbalancing/{}/{}",
            balancer.account,
            balancer.region,
            date.format("%Y/%m/%d"),
        ));
        Self { balancer, node, end: end.timestamp(), folder, suffix, rng }
    }

    fn write(&self, world: &World, args: &Args) -> Result<Totals> {
        self.write_all(world, args).with_context(|| self.folder.display().to_string())
    }

    fn write_all(&self, world: &World, args: &Args) -> Result<Totals> {
        let mut totals = self.write_application(world, args)?;
        if args.writes(LogType::NlbTls) {
            totals = totals + network::write(self, world, args.rows_per_object)?;
        }
        if args.writes(LogType::Classic) {
            totals = totals + classic::write(self, world, args)?;
        }
        Ok(totals)
    }

    /// Writes the logs of the Application Load Balancer.
    fn write_application(&self, world: &World, args: &Args) -> Result<Totals> {
        let Args { rows_per_object, fields, .. } = *args;
        let resource = self.balancer.resource.replace('/', ".");
        let open = |log_type, prefix| {
            let name = format!("{prefix}{}.log.gz", self.stem(&resource, self.end, true));
            args.writes(log_type).then(|| Output::gzip(self.folder.join(name))).transpose()
        };
        let mut access = open(LogType::Access, "")?;
        let mut connections = open(LogType::Connection, "conn_log_")?;
        let mut checks = open(LogType::HealthCheck, "health_check_log_")?;
        let mut traffic = Traffic::new(world, self, rows_per_object);
        // The other logs use a separate generator, so that the access logs are the same with and without them.
        let mut other_logs = OtherLogs::new(self, fields);
        let requests = if access.is_some() || connections.is_some() { rows_per_object } else { 0 };
        for row in 0..requests {
            traffic.next_row(row);
            if let Some(output) = &mut access {
                traffic.row.write(fields, &mut traffic.clocks, &mut output.text);
                output.end_row()?;
            }
            if let (Some(output), Some(connection)) = (&mut connections, &traffic.current) {
                other_logs.write_connection(connection, traffic.row.created, output)?;
            }
        }
        if let Some(output) = &mut checks {
            other_logs.write_checks(output)?;
        }
        let outputs = [access, connections, checks].into_iter().flatten();
        outputs.map(Output::finish).try_fold(Totals::default(), |sum, totals| Ok(sum + totals?))
    }

    /// Returns an object's name without its prefix and extension. Names of Network Load Balancer objects do not contain
    /// a node address.
    fn stem(&self, balancer: &str, end: i64, has_node: bool) -> String {
        let Balancer { account, region, nodes, .. } = self.balancer;
        let end = DateTime::from_timestamp(end, 0).unwrap_or_default().format("%Y%m%dT%H%MZ");
        let node = if has_node { format!("{}_", nodes[self.node]) } else { String::new() };
        let suffix = &self.suffix;
        format!("{account}_elasticloadbalancing_{region}_{balancer}_{end}_{node}{suffix}")
    }
}

/// An object that is being written.
struct Output {
    path: PathBuf,
    file: Encoder,
    /// Text that has not been written yet.
    text: Vec<u8>,
    totals: Totals,
}

/// The file of an object.
enum Encoder {
    Gzip(Box<GzEncoder<BufWriter<File>>>),
    Text(File),
}

impl Output {
    fn gzip(path: PathBuf) -> Result<Self> {
        let file = BufWriter::new(File::create(&path)?);
        Ok(Self::new(path, Encoder::Gzip(Box::new(GzEncoder::new(file, Compression::default())))))
    }

    fn text(path: PathBuf) -> Result<Self> {
        let file = File::create(&path)?;
        Ok(Self::new(path, Encoder::Text(file)))
    }

    fn new(path: PathBuf, file: Encoder) -> Self {
        let totals = Totals { objects: 1, ..Totals::default() };
        Self { path, file, text: Vec::with_capacity(1 << 17), totals }
    }

    /// Counts the line that was just appended to the text.
    fn end_row(&mut self) -> Result<()> {
        self.totals.rows += 1;
        if self.text.len() >= 1 << 16 { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<()> {
        match &mut self.file {
            Encoder::Gzip(file) => file.write_all(&self.text)?,
            Encoder::Text(file) => file.write_all(&self.text)?,
        }
        self.totals.decompressed += self.text.len() as u64;
        self.text.clear();
        Ok(())
    }

    fn finish(mut self) -> Result<Totals> {
        if !self.text.is_empty() {
            self.write()?;
        }
        if let Encoder::Gzip(file) = self.file {
            file.finish()?.flush()?;
        }
        let compressed = fs::metadata(&self.path)?.len();
        Ok(Totals { compressed, ..self.totals })
    }
}

// ---------------------------------------------------------------------------------------------------
// Connections and health checks
// ---------------------------------------------------------------------------------------------------

/// Writes a node's connection and health check logs for one window.
struct OtherLogs<'a> {
    balancer: &'a Balancer,
    node: &'a str,
    /// End of the window, in microseconds since 1970.
    end: i64,
    /// Number of fields in an access log line, which determines the era.
    fields: u8,
    rng: Rng,
    clock: Clock,
    /// IDs of the connections that have been written.
    seen: HashSet<[u8; 32]>,
}

/// Seconds between two checks of a target.
const CHECK_INTERVAL: i64 = 30;

impl<'a> OtherLogs<'a> {
    fn new(object: &Object<'a>, fields: u8) -> Self {
        let Object { balancer, node, end, ref rng, .. } = *object;
        Self {
            balancer,
            node: &balancer.nodes[node],
            end: end * 1_000_000,
            fields,
            rng: Rng::at(&[rng.0, 7]),
            clock: Clock::default(),
            seen: HashSet::new(),
        }
    }

    /// Writes a connection's line at its first request. Sometimes also writes a line for a failed connection.
    fn write_connection(
        &mut self,
        connection: &Connection<'_>,
        request: i64,
        output: &mut Output,
    ) -> Result<()> {
        if !self.seen.insert(connection.id) {
            return Ok(());
        }
        let slow = if self.rng.chance(100) { 1000 + self.rng.log_normal(900, 0.8) } else { 0 };
        let latency = self.rng.log_normal(14, 0.7) + slow;
        let time = request - latency as i64 * 1000 - self.rng.below(3000) as i64;
        let tls = connection.tls.map(|tls| (tls, latency));
        let subject = self.rng.chance(200).then_some("Success").filter(|_| tls.is_some());
        self.write_handshake(connection, time, tls, subject, &connection.id, &mut output.text);
        output.end_row()?;
        if self.rng.chance(50) && connection.tls.is_some() {
            let mut id = Vec::with_capacity(32);
            self.rng.hex(32, &mut id);
            let verified = self.rng.chance(4000).then_some("Failed:ClientCertExpired");
            self.write_handshake(connection, time - 70_000, None, verified, &id, &mut output.text);
            output.end_row()?;
        }
        Ok(())
    }

    /// Appends a line. `tls` is the cipher, the version and the duration (in milliseconds) of a completed handshake.
    /// `verified` is the result of client certificate verification, if the client sent a certificate.
    fn write_handshake(
        &mut self,
        connection: &Connection<'_>,
        time: i64,
        tls: Option<((&str, &str), u64)>,
        verified: Option<&str>,
        id: &[u8],
        out: &mut Vec<u8>,
    ) {
        self.clock.write(time, out);
        bare(&connection.client.address, out);
        number(Some(connection.port), out);
        number(Some(if connection.tls.is_some() { 443 } else { 80 }), out);
        match tls {
            Some(((cipher, version), latency)) => {
                bare(version, out);
                bare(cipher, out);
                out.push(b' ');
                seconds(latency, out);
            }
            None => out.extend_from_slice(b" - - -"),
        }
        match verified {
            Some(status) => {
                let till = 1 + self.rng.below(40);
                let mut subject = b"C=IE,O=Example Shops,CN=till ".to_vec();
                decimal(till, &mut subject);
                quoted(&subject, out);
                bare("NotBefore=2023-09-21T22:43:21Z;NotAfter=2026-06-17T22:43:21Z", out);
                bare("0D9F3A5517C2E8", out);
                padded::<2>(till, out);
                bare(status, out);
            }
            None => out.extend_from_slice(b" \"-\" - - -"),
        }
        if self.fields >= 30 {
            out.extend_from_slice(b" TID_");
            out.extend_from_slice(id);
        }
        if self.fields >= 34 {
            bare(if tls.is_some() { "x25519" } else { "-" }, out);
        }
        if self.fields >= 36 {
            bare(&self.balancer.resource, out);
            bare(self.node, out);
        }
        out.push(b'\n');
    }

    /// Writes the health checks of all targets.
    fn write_checks(&mut self, output: &mut Output) -> Result<()> {
        let balancer = self.balancer;
        for round in 0..WINDOW / CHECK_INTERVAL {
            for group in &balancer.groups {
                for target in &group.targets {
                    let after = (round - WINDOW / CHECK_INTERVAL) * CHECK_INTERVAL * 1_000_000;
                    let time = self.end + after + self.rng.below(900_000) as i64;
                    self.write_check(group, target, time, &mut output.text);
                    output.end_row()?;
                }
            }
        }
        Ok(())
    }

    fn write_check(&mut self, group: &TargetGroup, target: &str, time: i64, out: &mut Vec<u8>) {
        let (status, code, reason, nanos) = match self.rng.below(1000) {
            0..4 => ("FAIL", None, "TimedOut", 5_000_000_000 + self.rng.below(900_000)),
            4..9 => {
                ("FAIL", Some(503), "ResponseCodeMismatch", self.rng.log_normal(2_100_000, 0.5))
            }
            _ => ("PASS", Some(200), "-", self.rng.log_normal(1_700_000, 0.4)),
        };
        out.extend_from_slice(b"http ");
        self.clock.write(time, out);
        out.push(b' ');
        decimal(nanos / 1_000_000_000, out);
        out.push(b'.');
        padded::<9>(nanos % 1_000_000_000, out);
        bare(target, out);
        bare(group.arn.split('/').nth(1).unwrap_or("-"), out);
        bare(status, out);
        number(code, out);
        bare(reason, out);
        if self.fields >= 34 {
            bare(&self.balancer.resource, out);
            bare(self.node, out);
        }
        out.push(b'\n');
    }
}

// ---------------------------------------------------------------------------------------------------
// Rows
// ---------------------------------------------------------------------------------------------------

/// Spreads an object's rows over its window.
#[derive(Debug)]
struct Pace {
    /// Start of the window, in microseconds since 1970.
    start: i64,
    /// Average time between rows, in nanoseconds.
    step: u64,
}

impl Pace {
    /// `end` is the end of the window, and `window` is its length, both in seconds.
    fn new(end: i64, window: i64, rows: u64) -> Self {
        let step = window as u64 * 1_000_000_000 / rows.max(1);
        Self { start: (end - window) * 1_000_000, step }
    }

    /// Returns the time of a row, in microseconds since 1970.
    fn time(&self, index: u64, rng: &mut Rng) -> i64 {
        self.start + ((index * self.step + rng.below(self.step)) / 1000) as i64
    }
}

/// A connection that a client keeps open.
#[derive(Clone, Debug)]
struct Connection<'a> {
    kind: &'static str,
    client: &'a Client,
    port: u64,
    agent: &'a str,
    host: &'a Host,
    /// Cipher and version; `None` for plain HTTP.
    tls: Option<(&'static str, &'static str)>,
    /// Whether the handshake resumed an earlier session.
    resumed: bool,
    id: [u8; 32],
}

impl<'a> Connection<'a> {
    /// Opens a connection whose kind depends on a random number below 1000.
    fn open(
        kind: impl Fn(u64) -> &'static str,
        world: &'a World,
        balancer: &'a Balancer,
        rng: &mut Rng,
    ) -> Self {
        let client = &world.clients[world.client_skew.draw(rng)];
        // One address may send several user agents.
        let agent = if rng.chance(1500) { rng.index(world.agents.len()) } else { client.agent };
        let kind = kind(rng.below(1000));
        let tls = match (kind, rng.below(100)) {
            ("http" | "ws" | "tcp", _) => None,
            (_, 0..72) => Some(("TLS_AES_128_GCM_SHA256", "TLSv1.3")),
            (_, 72..80) => Some(("TLS_AES_256_GCM_SHA384", "TLSv1.3")),
            (_, 80..97) => Some(("ECDHE-RSA-AES128-GCM-SHA256", "TLSv1.2")),
            _ => Some(("ECDHE-ECDSA-AES128-GCM-SHA256", "TLSv1.2")),
        };
        let mut id = Vec::with_capacity(32);
        rng.hex(32, &mut id);
        Self {
            kind,
            client,
            port: rng.between(1024, 65_535),
            agent: &world.agents[agent],
            host: rng.pick(&balancer.hosts),
            tls,
            resumed: rng.chance(7000),
            id: id.try_into().expect("32 digits"),
        }
    }
}

/// Generates the requests of one object.
struct Traffic<'a> {
    world: &'a World,
    balancer: &'a Balancer,
    rng: Rng,
    connections: Vec<Connection<'a>>,
    pace: Pace,
    row: Row<'a>,
    /// The connection of the current row.
    current: Option<Connection<'a>>,
    clocks: [Clock; 2],
}

impl<'a> Traffic<'a> {
    fn new(world: &'a World, object: &Object<'a>, rows: u64) -> Self {
        let mut traffic = Self {
            world,
            balancer: object.balancer,
            rng: object.rng.clone(),
            connections: Vec::new(),
            pace: Pace::new(object.end, WINDOW, rows),
            row: Row::default(),
            current: None,
            clocks: [Clock::default(), Clock::default()],
        };
        traffic.row.balancer = &object.balancer.resource;
        traffic.row.node = &object.balancer.nodes[object.node];
        // A window with more requests has more concurrent connections.
        for _ in 0..(rows / 20).clamp(4, 400) {
            let connection = traffic.connect();
            traffic.connections.push(connection);
        }
        traffic
    }

    /// Opens a connection.
    fn connect(&mut self) -> Connection<'a> {
        let kind = |share| match share {
            0..45 => "http",
            45..400 => "https",
            400..970 => "h2",
            970..990 => "grpcs",
            990..992 => "ws",
            _ => "wss",
        };
        Connection::open(kind, self.world, self.balancer, &mut self.rng)
    }

    /// Generates the next request and its response.
    fn next_row(&mut self, index: u64) {
        let slot = self.rng.index(self.connections.len());
        if self.rng.chance(2200) {
            self.connections[slot] = self.connect();
        }
        let connection = self.connections[slot].clone();
        self.current = Some(connection.clone());
        let (world, balancer, rng, row) = (self.world, self.balancer, &mut self.rng, &mut self.row);

        row.clear();
        row.time = self.pace.time(index, rng);
        row.kind = connection.kind;
        row.client = &connection.client.address;
        row.client_port = connection.port;
        row.connection = connection.id;
        row.agent = connection.agent;
        if let Some((cipher, version)) = connection.tls {
            row.cipher = cipher;
            row.tls_version = version;
            row.domain = &connection.host.name;
            row.certificate =
                if connection.resumed { "session-reused" } else { &connection.host.certificate };
        }

        let outcome = rng.below(10_000);
        if outcome < 25 {
            row.malformed(rng);
            row.created = row.time;
            return;
        }

        let (route_index, route) = world.route(connection.kind, rng);
        row.write_request(&connection, route, world, rng);
        row.received_bytes = match route.method {
            "POST" | "PUT" | "PATCH" => rng.log_normal(1400, 0.8),
            _ => rng.log_normal(420, 0.5),
        };
        row.write_trace(rng);

        let plain = connection.tls.is_none();
        let mut millis = 0;
        match outcome {
            0..110 => row.block(rng),
            110..210 => row.fixed_response(rng),
            210..7000 if plain => row.redirect(&connection.host.name),
            _ => {
                // Each route has a target group; a few requests go to Lambda functions.
                let lambda = (outcome < 330).then_some(balancer.lambda_group.as_str());
                let group = &balancer.groups[[1, 1, 0, 2, 1, 0, 3][route_index % 7]];
                millis = row.forward(route, group, lambda, rng);
            }
        }
        row.created = row.time - millis as i64 * 1000 - rng.below(1000) as i64;
    }
}

/// The fields of a line. Missing text is `-`.
#[derive(Debug, Default)]
struct Row<'a> {
    kind: &'static str,
    /// Microseconds since 1970, like `created`.
    time: i64,
    created: i64,
    balancer: &'a str,
    node: &'a str,
    client: &'a str,
    client_port: u64,
    target: &'a str,
    /// The request, target and response processing times, in milliseconds.
    times: [Option<u64>; 3],
    status: u64,
    target_status: Option<u64>,
    received_bytes: u64,
    sent_bytes: u64,
    request: Vec<u8>,
    agent: &'a str,
    cipher: &'static str,
    tls_version: &'static str,
    group: &'a str,
    trace: Vec<u8>,
    domain: &'a str,
    certificate: &'a str,
    priority: Option<u64>,
    actions: &'static str,
    redirect: Vec<u8>,
    error: &'static str,
    classification: [&'static str; 2],
    connection: [u8; 32],
    rewrite: [&'static str; 3],
    stream_error: &'static str,
}

/// Request lines that the load balancer logs for requests it could not parse.
const MALFORMED: [&str; 4] =
    ["- http://www.example.com:80- -", "- http://www.example.com:80- ", "- - -", "- - - "];

impl<'a> Row<'a> {
    /// Clears the last request's fields, but keeps the load balancer and its node.
    fn clear(&mut self) {
        self.target = "-";
        self.times = [None; 3];
        self.target_status = None;
        self.request.clear();
        self.cipher = "-";
        self.tls_version = "-";
        self.group = "-";
        self.trace.clear();
        self.domain = "-";
        self.certificate = "-";
        self.priority = None;
        self.redirect.clear();
        self.error = "-";
        self.classification = ["-"; 2];
        self.rewrite = ["-"; 3];
        self.stream_error = "-";
    }

    /// Writes the request line.
    fn write_request(
        &mut self,
        connection: &Connection<'_>,
        route: &Route,
        world: &World,
        rng: &mut Rng,
    ) {
        let (scheme, port, version) = match connection.kind {
            "http" => ("http", ":80", " HTTP/1.1"),
            "https" => ("https", ":443", " HTTP/1.1"),
            "ws" => ("ws", ":80", " HTTP/1.1"),
            "wss" => ("wss", ":443", " HTTP/1.1"),
            _ => ("https", ":443", " HTTP/2.0"),
        };
        let request = &mut self.request;
        for text in [route.method, " ", scheme, "://", &connection.host.name, port] {
            request.extend_from_slice(text.as_bytes());
        }
        route.write_path(world, rng, request);
        if rng.chance(10) {
            request.extend_from_slice(b"&note=two words");
            self.classification = ["Acceptable", "SpaceInUri"];
        }
        request.extend_from_slice(version.as_bytes());
    }

    /// Writes the trace ID. If the client sent a trace ID (`Root`), the load balancer adds its own (`Self`).
    fn write_trace(&mut self, rng: &mut Rng) {
        let seconds = (self.time / 1_000_000) as u64;
        if rng.chance(400) {
            self.trace.extend_from_slice(b"Self=1-");
            hex8(seconds, &mut self.trace);
            self.trace.push(b'-');
            rng.hex(24, &mut self.trace);
            self.trace.push(b';');
        }
        self.trace.extend_from_slice(b"Root=1-");
        hex8(seconds, &mut self.trace);
        self.trace.push(b'-');
        rng.hex(24, &mut self.trace);
    }

    fn malformed(&mut self, rng: &mut Rng) {
        self.kind = "http";
        self.cipher = "-";
        self.tls_version = "-";
        self.domain = "-";
        self.certificate = "-";
        self.agent = "-";
        self.actions = "-";
        self.request.extend_from_slice(rng.pick(&MALFORMED).as_bytes());
        self.trace.push(b'-');
        self.status = 400;
        self.received_bytes = if rng.chance(5000) { 0 } else { rng.between(18, 400) };
        self.sent_bytes = *rng.pick(&[0, 155, 272, 288]);
        if rng.chance(6000) {
            self.classification = *rng.pick(&[
                ["Severe", "BadMethod"],
                ["Severe", "BadUri"],
                ["Severe", "BadVersion"],
            ]);
        }
    }

    /// Redirects plain HTTP to HTTPS.
    fn redirect(&mut self, host: &str) {
        self.actions = "redirect";
        self.status = 301;
        self.sent_bytes = 341;
        self.priority = Some(0);
        let request = self.request.splitn(4, |&byte| byte == b'/').nth(3).unwrap_or_default();
        let path = &request[..request.iter().rposition(|&byte| byte == b' ').unwrap_or_default()];
        self.redirect.extend_from_slice(b"https://");
        self.redirect.extend_from_slice(host.as_bytes());
        self.redirect.extend_from_slice(b":443/");
        self.redirect.extend_from_slice(path);
    }

    /// Blocks the request because of a firewall rule.
    fn block(&mut self, rng: &mut Rng) {
        self.actions = "waf";
        self.status = 403;
        self.sent_bytes = 272;
        self.priority = Some(rng.between(1, 12));
    }

    fn fixed_response(&mut self, rng: &mut Rng) {
        self.actions = "waf,fixed-response";
        self.status = *rng.pick(&[404, 404, 410, 503, 200]);
        self.sent_bytes = rng.between(150, 190);
        self.priority = Some(rng.between(20, 24));
    }

    /// Forwards the request to a random target or, if `lambda` is set, to that Lambda function, which has no address.
    /// Returns the duration in milliseconds.
    fn forward(
        &mut self,
        route: &Route,
        group: &'a TargetGroup,
        lambda: Option<&'a str>,
        rng: &mut Rng,
    ) -> u64 {
        self.actions = if rng.chance(6000) { "waf,forward" } else { "forward" };
        self.priority = Some(rng.below(9) * 10);
        self.group = lambda.unwrap_or(&group.arn);
        if lambda.is_none() {
            self.target = rng.pick(group.targets.as_slice()).as_str();
        }
        if rng.chance(100) {
            self.actions = "waf,rewrite,forward";
            self.rewrite = ["www.example.com", "/v2/index", "TransformSuccess"];
        }

        let sent = if rng.chance(40) { 2 + rng.log_normal(8, 1.0) } else { rng.below(3) };
        let answered = rng.log_normal(route.millis, 0.7);
        self.times = [Some(sent), Some(answered), Some(rng.below(40) / 39)];
        let status = match (route.method, rng.below(1000)) {
            ("OPTIONS" | "DELETE", 0..850) => 204,
            ("POST", 0..300) => 201,
            ("GET" | "HEAD", 0..110) => 304,
            (_, 0..925) => 200,
            (_, 925..940) => 302,
            (_, 940..965) => 404,
            (_, 965..975) => 401,
            (_, 975..982) => 400,
            (_, 982..987) => 403,
            (_, 987..990) => 429,
            (_, 990..994) => 500,
            (_, 994..996) => 502,
            (_, 996..998) => 504,
            _ => 460,
        };
        self.status = status;
        self.target_status = Some(status);
        self.sent_bytes = match status {
            200 | 201 => 180 + rng.log_normal(route.bytes, 0.6),
            204 | 304 => rng.between(140, 260),
            _ => rng.between(300, 900),
        };
        match status {
            502 if lambda.is_some() => self.error = "LambdaInvalidResponse",
            502 | 504 | 460 => self.times = [Some(sent), None, None],
            _ => {}
        }
        let mut millis: u64 = self.times.iter().flatten().sum();
        if matches!(status, 502 | 504 | 460) {
            self.target_status = None;
            // A target times out after a minute. A client that gives up closes the connection earlier.
            millis += match status {
                504 => 60_000,
                460 => rng.between(500, 30_000),
                _ => answered,
            };
        }
        if matches!(self.kind, "ws" | "wss") && status == 200 {
            self.status = 101;
            self.target_status = Some(101);
            self.received_bytes = rng.log_normal(9000, 1.5);
            self.sent_bytes = rng.log_normal(40_000, 1.5);
            millis += rng.log_normal(60_000, 1.5);
        }
        if self.kind == "grpcs" && status == 460 {
            self.stream_error = "0x8";
        }
        millis
    }

    /// Appends the access log line.
    fn write(&self, fields: u8, clocks: &mut [Clock; 2], out: &mut Vec<u8>) {
        let [answered, created] = clocks;
        out.extend_from_slice(self.kind.as_bytes());
        out.push(b' ');
        answered.write(self.time, out);
        bare(self.balancer, out);
        bare(self.client, out);
        out.push(b':');
        decimal(self.client_port, out);
        bare(self.target, out);
        for time in self.times {
            out.push(b' ');
            match time {
                Some(millis) => seconds(millis, out),
                None => out.extend_from_slice(b"-1"),
            }
        }
        number(Some(self.status), out);
        number(self.target_status, out);
        number(Some(self.received_bytes), out);
        number(Some(self.sent_bytes), out);
        quoted(&self.request, out);
        quoted(self.agent.as_bytes(), out);
        bare(self.cipher, out);
        bare(self.tls_version, out);
        bare(self.group, out);
        quoted(&self.trace, out);
        quoted(self.domain.as_bytes(), out);
        quoted(self.certificate.as_bytes(), out);
        number(self.priority, out);
        out.push(b' ');
        // The load balancer logs this time in whole milliseconds.
        created.write(self.created / 1000 * 1000, out);
        quoted(self.actions.as_bytes(), out);
        quoted(if self.redirect.is_empty() { b"-" } else { &self.redirect }, out);
        quoted(self.error.as_bytes(), out);
        quoted(self.target.as_bytes(), out);
        out.extend_from_slice(b" \"");
        match self.target_status {
            Some(status) => decimal(status, out),
            None => out.push(b'-'),
        }
        out.push(b'"');
        for text in self.classification {
            quoted(text.as_bytes(), out);
        }
        if fields >= 30 {
            out.extend_from_slice(b" TID_");
            out.extend_from_slice(&self.connection);
        }
        for (number, text) in (31..).zip(self.rewrite) {
            if fields >= number {
                quoted(text.as_bytes(), out);
            }
        }
        if fields >= 34 {
            bare(self.node, out);
        }
        for (number, text) in [(35, self.stream_error), (36, "-")] {
            if fields >= number {
                quoted(text.as_bytes(), out);
            }
        }
        out.push(b'\n');
    }
}

// ---------------------------------------------------------------------------------------------------
// Text
// ---------------------------------------------------------------------------------------------------

/// Writes times. Caches the formatted text of the most recent second.
#[derive(Debug, Default)]
struct Clock {
    second: i64,
    text: String,
}

impl Clock {
    /// Appends a time, in microseconds since 1970, in the format `2025-07-01T12:34:56.123456Z`.
    fn write(&mut self, micros: i64, out: &mut Vec<u8>) {
        self.write_seconds(micros, out);
        out.push(b'.');
        padded::<6>(micros.rem_euclid(1_000_000) as u64, out);
        out.push(b'Z');
    }

    /// Appends a time, in microseconds since 1970, in the format `2025-07-01T12:34:56`.
    fn write_seconds(&mut self, micros: i64, out: &mut Vec<u8>) {
        let second = micros.div_euclid(1_000_000);
        if self.text.is_empty() || self.second != second {
            self.second = second;
            self.text.clear();
            let time = DateTime::from_timestamp(second, 0).unwrap_or_default();
            let _ = write!(self.text, "{}", time.format("%Y-%m-%dT%H:%M:%S"));
        }
        out.extend_from_slice(self.text.as_bytes());
    }
}

/// Appends a field in quotes.
fn quoted(text: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b" \"");
    out.extend_from_slice(text);
    out.push(b'"');
}

/// Appends a field without quotes.
fn bare(text: &str, out: &mut Vec<u8>) {
    out.push(b' ');
    out.extend_from_slice(text.as_bytes());
}

/// Appends a number, or `-`.
fn number(value: Option<u64>, out: &mut Vec<u8>) {
    out.push(b' ');
    match value {
        Some(value) => decimal(value, out),
        None => out.push(b'-'),
    }
}

/// Appends milliseconds as seconds.
fn seconds(millis: u64, out: &mut Vec<u8>) {
    decimal(millis / 1000, out);
    out.push(b'.');
    padded::<3>(millis % 1000, out);
}

/// Appends a number without leading zeros.
fn decimal(mut value: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends the last `N` digits of a number.
fn padded<const N: usize>(mut value: u64, out: &mut Vec<u8>) {
    let mut digits = [b'0'; N];
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
    out.extend_from_slice(&digits);
}

/// Appends the lowest 32 bits in hexadecimal.
fn hex8(value: u64, out: &mut Vec<u8>) {
    for shift in (0..8).rev() {
        out.push(b"0123456789abcdef"[(value >> (4 * shift)) as usize & 15]);
    }
}
