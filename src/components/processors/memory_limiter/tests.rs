use super::*;
use crate::pdata::{MemoryBudget, Origin};

struct Takes;

impl Stage for Takes {
    fn consume(&self, _batch: Batch) -> BoxFuture<'_, Result<(), Refused>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

fn config(limit_mib: u64, spike_limit_mib: u64) -> Config {
    Config {
        check_interval: GoDuration(Duration::from_secs(1)),
        limit_mib,
        spike_limit_mib,
        ..Config::default()
    }
}

fn plan(config: Config) -> LimiterPlan {
    LimiterPlan {
        config,
        sampler: Mutex::new(Weak::new()),
    }
}

fn build(plan: &LimiterPlan, context: &BuildContext) -> (Arc<dyn Stage>, Arc<dyn Running>) {
    let next = Outlet::to(Arc::new(Takes));
    match plan.build(context.clone(), Signal::Traces, next).unwrap() {
        BuiltProcessor::Active { stage, running } => (stage, running),
        BuiltProcessor::Pure(_) => panic!("it owns a sampler"),
    }
}

fn batch() -> Batch {
    Batch::from_wire(Signal::Traces, vec![10, 0].into(), 5, Origin::internal())
}

#[test]
fn a_limit_in_mib_beats_the_percentage_and_the_spike_is_a_fifth() {
    let mut config = config(100, 0);
    config.limit_percentage = 50;
    let expected = Limits {
        hard: 100 * MIB,
        soft: 80 * MIB,
    };
    assert_eq!(config.limits(1000 * MIB), expected);
    config.limit_mib = 0;
    config.spike_limit_percentage = 10;
    let expected = Limits {
        hard: 500 * MIB,
        soft: 400 * MIB,
    };
    assert_eq!(config.limits(1000 * MIB), expected);
}

#[tokio::test(start_paused = true)]
async fn refuses_above_the_soft_limit_and_resumes_below_it() {
    let mut context = BuildContext::standalone(ComponentKind::Processor, "memory_limiter");
    context.memory = MemoryBudget::new(u64::MAX);
    let plan = plan(config(1 << 30, 1));
    let (stage, running) = build(&plan, &context);
    let sampler = plan.sampler.lock().unwrap().upgrade().unwrap();
    assert_eq!(context.memory.limit(), ((1 << 30) - 1) * MIB);

    sampler.judge(u64::MAX);
    let refused = stage.consume(batch()).await.unwrap_err();
    assert_eq!(refused.message, "data refused due to high memory usage");
    assert!(!refused.permanent && refused.retry_after.is_some());
    assert!(
        context.memory.try_acquire(1).is_none(),
        "receivers refuse before they read"
    );

    sampler.judge(1);
    assert!(stage.consume(batch()).await.is_ok());
    assert!(context.memory.try_acquire(1).is_some());
    running.stop(Deadline::after(Duration::from_secs(1))).await;
}

#[tokio::test(start_paused = true)]
async fn looks_at_the_process_at_every_interval() {
    let context = BuildContext::standalone(ComponentKind::Processor, "memory_limiter");
    // One MiB is less than any process has.
    let plan = plan(config(1, 0));
    let (stage, running) = build(&plan, &context);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(stage.consume(batch()).await.is_err());
    running.stop(Deadline::after(Duration::from_secs(1))).await;
    assert!(
        !context.memory.is_closed(),
        "a limiter that is gone holds nothing closed"
    );
}

#[tokio::test(start_paused = true)]
async fn pipelines_share_one_sampler_until_the_last_one_stops() {
    let context = BuildContext::standalone(ComponentKind::Processor, "memory_limiter");
    let plan = plan(config(1 << 30, 0));
    let (_first, first_running) = build(&plan, &context);
    let first = plan.sampler.lock().unwrap().upgrade().unwrap();
    let (_second, second_running) = build(&plan, &context);
    let second = plan.sampler.lock().unwrap().upgrade().unwrap();
    assert!(Arc::ptr_eq(&first, &second));
    let soon = || Deadline::after(Duration::from_secs(1));
    first_running.stop(soon()).await;
    first_running.stop(soon()).await;
    assert!(first.join(), "the second pipeline still uses it");
    first.leave();
    second_running.stop(soon()).await;
    assert!(!first.join(), "nobody uses it");
}
