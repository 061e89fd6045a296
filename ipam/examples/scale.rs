//! Prints what allocation costs at 100,000 services over 100 pools: all of them at start-up, all of
//! them one by one, and single changes afterwards. Run it with `--release`.

use std::collections::BTreeMap;
use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};

use landfall_ipam::{
    Allocator, Block, Created, FirstLast, LabelSelector, Pool, Protocol, ServiceId, ServicePort,
    ServiceRequest,
};

const POOLS: u64 = 100;
const SERVICES: u64 = 100_000;
const SINGLE_CHANGES: u64 = 1_000;

fn pool(index: u64, blocks: &[String]) -> Result<Pool, Box<dyn Error>> {
    let blocks = blocks
        .iter()
        .map(|cidr| Block::from_cidr(cidr))
        .collect::<Result<Vec<_>, _>>()?;
    let labels = BTreeMap::from([("tenant".to_owned(), index.to_string())]);
    let selector = LabelSelector::new(labels, Vec::new())?;
    let pool = Pool::new(
        &format!("pool-{index}"),
        Created(index),
        blocks,
        FirstLast::Reserved,
    )?;
    Ok(pool.with_selector(Some(selector)))
}

fn pools() -> Result<Vec<Pool>, Box<dyn Error>> {
    (0..POOLS)
        .map(|index| pool(index, &[format!("10.{index}.0.0/21")]))
        .collect()
}

fn service(index: u64) -> ServiceRequest {
    let id = ServiceId::new(
        &format!("namespace-{}", index % 1000),
        &format!("service-{index}"),
    );
    let mut request = ServiceRequest::new(id, Created(index));
    request.labels = BTreeMap::from([
        ("app".to_owned(), format!("app-{index}")),
        ("tenant".to_owned(), (index % POOLS).to_string()),
    ]);
    request.ports = [ServicePort {
        protocol: Protocol::Tcp,
        number: 80,
    }]
    .into();
    request
}

/// Prints the least, the median, the 95th percentile and the greatest of `samples`.
fn print(name: &str, mut samples: Vec<Duration>) {
    samples.sort_unstable();
    let at = |percent: usize| samples[(samples.len() - 1) * percent / 100];
    println!(
        "{name:<34} n {:>5}  min {:>10.2?}  median {:>10.2?}  p95 {:>10.2?}  max {:>10.2?}",
        samples.len(),
        at(0),
        at(50),
        at(95),
        at(100)
    );
}

/// Time this thread has been on a CPU (Linux, `/proc/thread-self/schedstat`, first field, in ns);
/// unlike the wall clock it does not count what others on the machine take.
fn on_cpu() -> Result<Duration, Box<dyn Error>> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds = text.split(' ').next().ok_or("schedstat is empty")?;
    Ok(Duration::from_nanos(nanoseconds.parse()?))
}

fn timed<T>(work: impl FnOnce() -> T) -> Duration {
    let start = Instant::now();
    let result = black_box(work());
    let took = start.elapsed();
    drop(result);
    took
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut allocator = Allocator::new();
    allocator.set_pools(pools()?)?;
    let requests: Vec<_> = (0..SERVICES).map(service).collect();
    let before = on_cpu()?;
    let plan = timed(|| {
        for request in requests {
            allocator.import(request);
        }
        allocator.start()
    });
    print("100,000 services at start-up", vec![plan]);
    print(
        "  thereof on CPU, reporting included",
        vec![on_cpu()? - before],
    );
    let used: u128 = allocator.pool_statuses().map(|status| status.used).sum();
    assert_eq!(used, u128::from(SERVICES), "every service has its address");

    let mut one_by_one = Allocator::new();
    one_by_one.set_pools(pools()?)?;
    one_by_one.start();
    let requests: Vec<_> = (0..SERVICES).map(service).collect();
    let before = on_cpu()?;
    let plan = timed(|| {
        for request in requests {
            black_box(one_by_one.upsert_service(request));
        }
    });
    print("100,000 services one by one", vec![plan]);
    print("  thereof on CPU", vec![on_cpu()? - before]);

    let fresh: Vec<_> = (SERVICES..SERVICES + SINGLE_CHANGES).map(service).collect();
    let samples = fresh.iter().map(|request| {
        let request = request.clone();
        timed(|| allocator.upsert_service(request))
    });
    print("one service more", samples.collect());
    let samples = fresh.iter().map(|request| {
        let mut request = request.clone();
        request.ports = [ServicePort {
            protocol: Protocol::Tcp,
            number: 443,
        }]
        .into();
        timed(|| allocator.upsert_service(request))
    });
    print("one service changed", samples.collect());
    let samples = fresh
        .iter()
        .map(|request| timed(|| allocator.remove_service(&request.id)));
    print("one service less", samples.collect());

    let mut edit = |name: &str, edits: &dyn Fn(u64) -> Result<Pool, Box<dyn Error>>| {
        let mut samples = Vec::new();
        for index in 0..POOLS {
            let mut list = pools()?;
            let place = usize::try_from(index)?;
            list[place] = edits(index)?;
            samples.push(timed(|| allocator.set_pools(list)));
            allocator.set_pools(pools()?)?;
        }
        print(name, samples);
        Ok::<(), Box<dyn Error>>(())
    };
    edit("one pool widened", &|index| {
        pool(
            index,
            &[format!("10.{index}.0.0/21"), format!("172.16.{index}.0/24")],
        )
    })?;
    edit("one pool shrunk around its services", &|index| {
        pool(index, &[format!("10.{index}.0.0/22")])
    })?;
    edit("one pool disabled", &|index| {
        Ok(pool(index, &[format!("10.{index}.0.0/21")])?.with_disabled(true))
    })?;
    edit("one pool relabelled (1,000 move out)", &|index| {
        Ok(
            pool(index, &[format!("10.{index}.0.0/21")])?.with_selector(Some(LabelSelector::new(
                BTreeMap::from([("tenant".to_owned(), "nobody".to_owned())]),
                Vec::new(),
            )?)),
        )
    })?;
    Ok(())
}
