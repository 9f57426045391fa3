//! Simulates workers, a network and a store in virtual time, with the same limiter as in production.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::iter;

use proptest::prelude::*;

use super::*;

/// The speed of a worker that reads from a disk: maximum objects and gzip bytes per second.
const OBJECTS_PER_SECOND: f64 = 3_500.0;
const BYTES_PER_SECOND: f64 = 85e6;
/// Total size of the objects that a worker takes from a feed in one run.
const RUN_BYTES: u64 = 512 << 10;
const RUN_OBJECTS: u64 = 256;
/// Larger objects are read in ranges of this size.
const RANGE: u64 = 8 << 20;

#[derive(Debug, Clone)]
struct World {
    workers: usize,
    /// Latencies are uniformly distributed between 0.75 and 1.25 times this value.
    latency: f64,
    size: u64,
    /// Bytes per second, across all connections.
    bandwidth: f64,
    max_requests: usize,
    max_bytes: u64,
    /// Period during which a store refuses one request in three.
    throttles: std::ops::Range<f64>,
    /// Whether the first lane reads from a separate store, which is then the only one to refuse requests.
    two_stores: bool,
    /// Additional latency of the first lane.
    slow_lane: f64,
}

impl World {
    fn new(workers: usize, latency: f64, size: u64) -> Self {
        let (bandwidth, max_bytes) = (1e12, max_bytes(workers));
        Self {
            workers,
            latency,
            size,
            bandwidth,
            max_requests: 1 << 16,
            max_bytes,
            throttles: 0.0..0.0,
            two_stores: false,
            slow_lane: 0.0,
        }
    }

    /// Returns the size of a request.
    fn unit(&self) -> u64 {
        self.size.min(RANGE)
    }

    /// Returns how many requests one worker processes per second.
    fn rate_of_worker(&self) -> f64 {
        1.0 / (1.0 / OBJECTS_PER_SECOND).max(self.unit() as f64 / BYTES_PER_SECOND)
    }

    /// Returns the largest possible share of time that workers are busy.
    fn bound(&self) -> f64 {
        let demand = self.rate_of_worker() * self.workers as f64;
        let network = self.bandwidth / self.unit() as f64;
        let requests = self.max_requests as f64 / self.latency;
        (network.min(requests) / demand).min(1.0)
    }
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// The first byte of the response arrives.
    Answer(u64),
    /// The last byte arrives.
    End(u64),
    /// A refused request is sent again.
    Retry(u64),
    /// A worker has processed an object.
    Ready(usize),
}

/// Statistics for a period of time.
#[derive(Debug, Default, Clone, Copy)]
struct Seen {
    /// Share of the time that workers were busy.
    busy: f64,
    most_in_flight: usize,
    most_bytes: u64,
    /// Objects taken from the first lane and from all lanes.
    first_lane: u64,
    taken: u64,
}

struct Simulation {
    world: World,
    admission: Admission,
    now: f64,
    events: BinaryHeap<Reverse<(u64, Event)>>,
    link_free: f64,
    random: u64,
    lanes: Vec<VecDeque<u64>>,
    /// For each worker: the lane that it takes from, the number of objects left in its run, and the read that it is
    /// waiting for.
    workers: Vec<(usize, u64, Option<u64>)>,
    arrived: std::collections::HashSet<u64>,
    lane_of: HashMap<u64, usize>,
    seen: Seen,
}

impl Simulation {
    fn new(world: World) -> Self {
        let lanes =
            if world.size > RANGE { world.workers } else { world.workers.div_ceil(4).max(2) };
        let mut simulation = Self {
            admission: Admission::new(world.max_requests, world.max_bytes),
            now: 0.0,
            events: BinaryHeap::new(),
            link_free: 0.0,
            random: 1,
            lanes: vec![VecDeque::new(); lanes],
            workers: (0..world.workers).map(|worker| (worker % lanes, 0, None)).collect(),
            arrived: std::collections::HashSet::new(),
            lane_of: HashMap::new(),
            seen: Seen::default(),
            world,
        };
        for (number, name) in ["s3://one", "s3://other"].into_iter().enumerate() {
            assert_eq!(simulation.admission.store(name), number);
        }
        for worker in 0..simulation.workers.len() {
            simulation.next_object(worker);
        }
        simulation
    }

    fn at(&self) -> Duration {
        Duration::from_secs_f64(self.now)
    }

    fn schedule(&mut self, after: f64, event: Event) {
        self.events.push(Reverse((((self.now + after) * 1e9) as u64, event)));
    }

    fn random(&mut self) -> f64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.random >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn send(&mut self, number: u64) {
        let jitter = 0.75 + 0.5 * self.random();
        let slow = if self.lane_of[&number] == 0 { self.world.slow_lane } else { 0.0 };
        self.schedule(self.world.latency * jitter + slow, Event::Answer(number));
    }

    /// Sends the requests of all reads that can be admitted.
    fn admit(&mut self) {
        while let Some(number) = self.admission.admit(self.at()) {
            self.send(number);
        }
        let (in_flight, bytes) = (self.admission.in_flight(), self.admission.held_bytes());
        self.seen.most_in_flight = self.seen.most_in_flight.max(in_flight);
        self.seen.most_bytes = self.seen.most_bytes.max(bytes);
    }

    fn store_of(&self, lane: usize) -> StoreId {
        usize::from(self.world.two_stores && lane == 0)
    }

    /// Begins reads for all objects in the window, like a feed.
    fn read_ahead(&mut self, lane: usize) {
        while self.lanes[lane].len() <= self.admission.pace.window() {
            let number = self.admission.add((lane as u64, self.store_of(lane)), self.world.unit());
            self.lane_of.insert(number, lane);
            self.lanes[lane].push_back(number);
        }
    }

    /// Lets a worker take its next object, or wait for it.
    fn next_object(&mut self, worker: usize) {
        let (lane, left, _) = self.workers[worker];
        self.read_ahead(lane);
        let number = self.lanes[lane].pop_front().expect("it was filled");
        let run = (RUN_BYTES / self.world.size).clamp(1, RUN_OBJECTS);
        let left = if left == 0 { run } else { left } - 1;
        self.workers[worker] = (lane, left, Some(number));
        if !self.arrived.contains(&number) {
            self.admission.hurry(number);
        }
        self.admit();
        self.try_take(worker);
    }

    fn try_take(&mut self, worker: usize) {
        let (lane, left, waits_for) = self.workers[worker];
        let Some(number) = waits_for.filter(|number| self.arrived.remove(number)) else { return };
        self.admission.remove(number, true, self.at());
        self.lane_of.remove(&number);
        self.seen.taken += 1;
        self.seen.first_lane += u64::from(lane == 0);
        self.workers[worker].2 = None;
        // Decompression is a fifth of a run's cost; decoding and encoding follow.
        let run = (RUN_BYTES / self.world.size).clamp(1, RUN_OBJECTS);
        let cost = 1.0 / self.world.rate_of_worker();
        let cost = if run == 1 {
            cost
        } else if left == 0 {
            cost * (0.2 + 0.8 * run as f64)
        } else {
            cost * 0.2
        };
        self.seen.busy += cost;
        self.schedule(cost, Event::Ready(worker));
        self.admit();
    }

    fn run_until(&mut self, end: f64) -> Seen {
        let (begun, workers) = (self.now, self.world.workers as f64);
        self.seen = Seen::default();
        while let Some(Reverse((at, _))) = self.events.peek() {
            if *at as f64 / 1e9 > end {
                break;
            }
            let Reverse((at, event)) = self.events.pop().expect("it was peeked");
            self.now = at as f64 / 1e9;
            match event {
                Event::Answer(number) => {
                    let store = self.store_of(self.lane_of[&number]);
                    let throttles = self.world.throttles.contains(&self.now)
                        && store == usize::from(self.world.two_stores);
                    if throttles && self.random() < 1.0 / 3.0 {
                        self.admission.throttle(store, self.at());
                        let pause = 0.2 + 0.4 * self.random();
                        self.schedule(pause, Event::Retry(number));
                        continue;
                    }
                    let transfer = self.world.unit() as f64 / self.world.bandwidth;
                    self.link_free = self.link_free.max(self.now) + transfer;
                    self.schedule(self.link_free - self.now, Event::End(number));
                }
                Event::Retry(number) => self.send(number),
                Event::End(number) => {
                    self.admission.end(number, true, self.at());
                    self.arrived.insert(number);
                    self.admit();
                    for worker in 0..self.workers.len() {
                        if self.workers[worker].2 == Some(number) {
                            self.try_take(worker);
                        }
                    }
                }
                Event::Ready(worker) => self.next_object(worker),
            }
        }
        self.now = end;
        let busy = self.seen.busy / (end - begun) / workers;
        Seen { busy, ..self.seen }
    }
}

/// Asserts that the workers are busy for 95 % of the time that the network allows.
fn check(world: &World) {
    let mut simulation = Simulation::new(world.clone());
    // Workers that take few objects must be observed for longer: from one measurement of the latency to the next.
    let (warm, time) = if world.size < 1 << 20 { (1.5, 1.5) } else { (5.0, 10.0) };
    let warm = warm + 20.0 * world.latency;
    let first = simulation.run_until(warm);
    let then = simulation.run_until(warm + time);
    let busy = then.busy / world.bound();
    assert!(
        busy > 0.95,
        "busy for {busy:.3} of the possible time: {world:?} {then:?} {:?}",
        simulation.admission.pace
    );
    let memory = world.max_bytes + world.workers as u64 * world.unit();
    let most = first.most_bytes.max(then.most_bytes);
    assert!(most <= memory, "{most} bytes of {memory}: {world:?}");
    let most = first.most_in_flight.max(then.most_in_flight);
    assert!(most <= world.max_requests, "{most} requests: {world:?}");
}

#[test]
fn workers_are_busy_at_any_latency_and_object_size() {
    for latency in [0.001, 0.01, 0.03, 0.2] {
        for size in [1 << 10, 8 << 10, 100 << 10, 700 << 10, 4 << 20, 100 << 20] {
            for workers in [2, 8] {
                check(&World::new(workers, latency, size));
            }
        }
    }
}

#[test]
fn sixty_four_workers_are_busy() {
    for (latency, size) in [(0.03, 8 << 10), (0.2, 700 << 10), (0.05, 100 << 20)] {
        check(&World::new(64, latency, size));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn workers_are_as_busy_as_the_network_allows(
        workers in 2_usize..17,
        latency in 0.001..0.2_f64,
        size in (10.0..26.6_f64).prop_map(|log| log.exp2() as u64),
        share_of_demand in 0.2..3.0_f64,
    ) {
        let world = World::new(workers, latency, size);
        let demand = world.rate_of_worker() * workers as f64 * world.unit() as f64;
        check(&World { bandwidth: demand * share_of_demand, ..world });
    }
}

#[test]
fn workers_are_busy_while_the_latency_is_measured_again() {
    // A window that includes all queueing of this network takes more than a latency to drain.
    let world = World { bandwidth: 323e6, ..World::new(4, 0.182, 1_136_911) };
    check(&world);
    let world = World { bandwidth: 17e6, ..World::new(2, 0.2, 100 << 10) };
    let mut simulation = Simulation::new(world.clone());
    simulation.run_until(5.0);
    let seen = simulation.run_until(45.0);
    assert!(seen.busy > 0.95 * world.bound(), "{seen:?}");
}

#[test]
fn two_workers_have_enough_small_objects_in_flight_at_30_ms() {
    let mut simulation = Simulation::new(World::new(2, 0.03, 8 << 10));
    simulation.run_until(3.0);
    let seen = simulation.run_until(6.0);
    assert!(seen.taken as f64 / 3.0 > 6_650.0, "{seen:?}");
    // 7,000 objects per second x 30 ms = 210 objects. The reserve is a multiple of this.
    assert!((210..1_500).contains(&seen.most_in_flight), "{seen:?}");
    let fixed = World { max_requests: 64, ..World::new(2, 0.03, 8 << 10) };
    assert!(
        Simulation::new(fixed).run_until(6.0).taken < 6 * 2_200,
        "the simulation has a latency"
    );
}

#[test]
fn a_saturated_network_is_not_flooded() {
    // A tenth of the bandwidth that the workers need.
    let world = World { bandwidth: 17e6, ..World::new(2, 0.03, 100 << 10) };
    let mut simulation = Simulation::new(world.clone());
    simulation.run_until(5.0);
    for minute in 0..3 {
        let seen = simulation.run_until(5.0 + 60.0 * f64::from(minute + 1));
        assert!(seen.busy > 0.95 * world.bound(), "{seen:?}");
        // The network can hold 17 MB/s x 30 ms = 5 objects.
        assert!(seen.most_in_flight < 160, "{seen:?}");
    }
}

#[test]
fn a_longer_latency_is_noticed() {
    let mut simulation = Simulation::new(World::new(2, 0.01, 8 << 10));
    simulation.run_until(5.0);
    simulation.world.latency = 0.15;
    simulation.run_until(25.0);
    let seen = simulation.run_until(30.0);
    assert!(seen.busy > 0.95, "{seen:?}");
}

#[test]
fn the_limit_falls_while_a_store_throttles_and_then_recovers() {
    let world = World { throttles: 5.0..15.0, max_requests: 1024, ..World::new(2, 0.03, 8 << 10) };
    let mut simulation = Simulation::new(world);
    simulation.run_until(3.0);
    let before = simulation.run_until(5.0);
    simulation.run_until(7.0);
    let throttled = simulation.run_until(15.0);
    simulation.run_until(30.0);
    let after = simulation.run_until(32.0);
    assert!(before.busy > 0.95 && after.busy > 0.95, "{before:?} {after:?}");
    let [before, throttled, after] = [before, throttled, after].map(|seen| seen.most_in_flight);
    assert!(throttled * 4 < before && throttled * 4 < after, "{before} {throttled} {after}");
}

#[test]
fn a_slow_source_does_not_slow_down_another() {
    let even = World::new(2, 0.03, 8 << 10);
    let share = |world: World| {
        let mut simulation = Simulation::new(world);
        simulation.run_until(5.0);
        let seen = simulation.run_until(10.0);
        seen.taken - seen.first_lane
    };
    let [alone, beside] = [0.0, 2.0].map(|slow_lane| share(World { slow_lane, ..even.clone() }));
    assert!(beside as f64 > 0.75 * alone as f64, "{beside} instead of {alone}");
}

#[test]
fn a_lane_that_filled_the_window_leaves_another_its_share() {
    let (mut admission, now) = (Admission::new(1000, 1 << 30), Duration::from_secs(1));
    let store = admission.store("s3://a");
    let mut fill = |lane| {
        (0..100).for_each(|_| _ = admission.add((lane, store), 1));
        iter::from_fn(|| admission.admit(now)).count()
    };
    // The window is 64 before the first measurement.
    assert_eq!([0, 1, 2].map(&mut fill), [64, 32, 22]);
}

#[test]
fn a_store_that_throttles_does_not_slow_down_another() {
    let even = World { max_requests: 1024, two_stores: true, ..World::new(2, 0.03, 8 << 10) };
    let share = |throttles: std::ops::Range<f64>| {
        let mut simulation = Simulation::new(World { throttles, ..even.clone() });
        simulation.run_until(5.0);
        let seen = simulation.run_until(10.0);
        assert!(seen.first_lane > 0, "{seen:?}");
        seen.taken - seen.first_lane
    };
    let [alone, beside] = [0.0..0.0, 2.0..10.0].map(share);
    assert!(beside as f64 > 0.75 * alone as f64, "{beside} instead of {alone}");
}

#[test]
fn a_worker_gets_its_object_even_if_others_fill_the_memory() {
    let mut admission = Admission::new(8, 100);
    let store = admission.store("s3://a");
    let now = Duration::from_secs(1);
    let first = [1, 1, 1].map(|lane| admission.add((lane, store), 50));
    assert_eq!([(); 3].map(|()| admission.admit(now)), [Some(first[0]), Some(first[1]), None]);
    first[..2].iter().for_each(|number| admission.end(*number, true, now));
    let other = admission.add((2, store), 70);
    assert_eq!(admission.admit(now), None);
    admission.hurry(other);
    assert_eq!((admission.admit(now), admission.admit(now)), (Some(other), None));
    assert_eq!((admission.in_flight(), admission.held_bytes()), (1, 170));
    for number in [first[0], first[1], other] {
        admission.remove(number, true, now);
    }
    assert_eq!(admission.admit(now), Some(first[2]));
    admission.remove(first[2], false, now);
    assert_eq!((admission.in_flight(), admission.held_bytes()), (0, 0));
}

#[test]
fn canceled_reads_leave_nothing_behind() {
    let limiter = Arc::new(Limiter::default());
    let reads = limiter.reads("s3://a");
    let lanes = [Lane::new(), Lane::new()];
    let mut tickets: Vec<_> =
        (0..400).map(|number| reads.begin(lanes[number % 2], 1 << 20).0).collect();
    assert!(limiter.load().in_flight > 0);
    // The tickets are dropped in an order that is unrelated to the order of admission.
    for number in 0..400 {
        let ticket = tickets.swap_remove((number * 7) % tickets.len());
        if number % 3 == 0 {
            ticket.end(true);
            ticket.take();
        }
    }
    let inner = limiter.lock();
    assert_eq!((inner.admission.in_flight(), inner.admission.held_bytes()), (0, 0));
    assert!(inner.waiting.is_empty() && inner.admission.is_empty(), "{inner:?}");
}
