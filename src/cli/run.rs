//! `portolan run`: the reconcile loop.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info, warn};

use super::{RunArgs, apply, input, takeover};
use crate::{
    agent::Agent,
    config::Config,
    desired::Desired,
    kernel::{DataPlane, KernelError, NetlinkDataPlane, addresses::AddressWatch},
    source::watch::ManifestWatch,
    tables::{Contents, differences},
};

/// How soon after a failure the first new try is made; doubled each time, up to [`LONGEST_RETRY`].
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(30);
/// How often the kernel is asked whether anybody changed its rules.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// After a look at the tables, the next one waits this many times as long as it took.
const REST: u32 = 20;

pub(super) fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    if args.write_config()? {
        return Ok(ExitCode::SUCCESS);
    }
    let (config, warnings) = args.config()?;
    warnings.iter().for_each(|warning| warn!("{warning}"));
    let args = &config;
    if !args.sync.dry_run {
        takeover::set_sysctls(args);
    }
    if args.process.init_only {
        return Ok(ExitCode::SUCCESS);
    }
    anyhow::ensure!(!args.input.manifests.is_empty(), "no manifests are given: use -f");
    let kube_proxy = takeover::KubeProxy::at_start(args)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        if args.sync.dry_run { follow(args, DryRun::new()).await } else { follow(args, Live::new(kube_proxy)?).await }
    })?;
    Ok(ExitCode::SUCCESS)
}

/// What is done each time: for real, or on paper.
trait Follower {
    /// Brings the kernel in line with new inputs.
    fn set(&mut self, loaded: input::Loaded) -> Result<(), KernelError>;
    /// Tries again, or repairs what others changed.
    fn check(&mut self) -> Result<(), KernelError>;
}

/// The loop: whatever happens is gathered for the least period, then handled once.
async fn follow(args: &Config, mut follower: impl Follower) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut files = ManifestWatch::new(&args.input.manifests);
    let mut interfaces = AddressWatch::open().context("cannot follow the addresses of the interfaces")?;
    let mut retry = FIRST_RETRY;
    let mut reload = true;
    loop {
        let started = Instant::now();
        let result = if std::mem::take(&mut reload) {
            load_and_set(args, &mut follower)
        } else {
            follower.check().map_err(Into::into)
        };
        let pause = match result {
            Ok(()) => {
                retry = FIRST_RETRY;
                CHECK_INTERVAL
            }
            Err(failure) => {
                error!(retry_seconds = retry.as_secs(), "{failure:#}; the rules stay as they are");
                let doubled = (retry * 2).min(LONGEST_RETRY);
                std::mem::replace(&mut retry, doubled)
            }
        };
        let least = args.sync.min_sync_period.saturating_sub(started.elapsed());
        tokio::time::sleep(least).await;
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            () = files.changed() => reload = true,
            changed = interfaces.changed() => {
                if changed.is_err() {
                    warn!("lost track of interface addresses; subscribing again");
                    interfaces = AddressWatch::open().context("cannot follow the addresses of the interfaces")?;
                }
                reload = true;
            }
            () = tokio::time::sleep(pause) => {}
        }
    }
    info!("ending; the rules stay in place");
    Ok(())
}

fn load_and_set(args: &Config, follower: &mut impl Follower) -> anyhow::Result<()> {
    let allocating = if args.sync.dry_run { input::Allocating::ReadOnly } else { input::Allocating::Remember };
    let loaded = input::load(&args.input, &args.node, allocating)?;
    input::print_notices(&loaded.notices);
    follower.set(loaded)?;
    Ok(())
}

/// The real thing.
struct Live {
    agent: Agent<NetlinkDataPlane>,
    /// The ruleset's generation after our last look
    generation: u32,
    /// The last change failed or was refused in part
    unfinished: bool,
    /// Not to read the tables again before: where others change rules all the time, looking must not cost more than a
    /// small part of this processor
    rest_until: Instant,
    /// What a kube-proxy left goes after the first success
    kube_proxy: takeover::KubeProxy,
}

impl Live {
    fn new(kube_proxy: takeover::KubeProxy) -> Result<Self, KernelError> {
        Ok(Self {
            agent: Agent::new(NetlinkDataPlane::open()?),
            generation: 0,
            unfinished: false,
            rest_until: Instant::now(),
            kube_proxy,
        })
    }

    fn sync(&mut self) -> Result<(), KernelError> {
        self.unfinished = true;
        let synced = self.agent.sync()?;
        self.kube_proxy.synced();
        input::print_notices(&synced.notices);
        self.unfinished = !synced.refused.is_empty();
        self.generation = self.agent.kernel().generation()?;
        if synced.installed || !synced.changed.is_empty() {
            info!("{}", apply::report(self.agent.desired().world().services.len(), &synced));
        }
        Ok(())
    }
}

impl Follower for Live {
    fn set(&mut self, loaded: input::Loaded) -> Result<(), KernelError> {
        self.agent.keep(loaded.refused);
        self.agent.set(loaded.world, loaded.settings, loaded.incomplete);
        self.sync()
    }

    fn check(&mut self) -> Result<(), KernelError> {
        let disturbed = self.agent.kernel().generation()? != self.generation && Instant::now() >= self.rest_until;
        if !disturbed && !self.unfinished {
            return Ok(());
        }
        // Anybody's commit moves the generation, in whatever table: look before repairing.
        let started = Instant::now();
        if disturbed {
            self.agent.doubt();
        }
        let result = self.sync();
        self.rest_until = Instant::now() + started.elapsed() * REST;
        result
    }
}

/// Says what would be done.
struct DryRun {
    desired: Desired,
    /// What the kernel would hold
    contents: Contents,
    first: bool,
}

impl DryRun {
    fn new() -> Self {
        Self { desired: Desired::default(), contents: Contents::default(), first: true }
    }

    /// What the kernel holds now; nothing, if it cannot be read.
    fn read_kernel() -> Contents {
        match NetlinkDataPlane::open().and_then(|mut kernel| kernel.dump()) {
            Ok(state) => Contents::from_kernel(state),
            Err(failure) => {
                warn!("{failure}; comparing with empty tables");
                Contents::default()
            }
        }
    }
}

impl Follower for DryRun {
    fn set(&mut self, loaded: input::Loaded) -> Result<(), KernelError> {
        self.desired.keep(loaded.refused);
        self.desired.replace(loaded.world, loaded.settings);
        if std::mem::take(&mut self.first) {
            self.contents = Self::read_kernel();
        }
        let work = self.desired.take_over(&mut self.contents, loaded.incomplete);
        input::print_notices(&work.notices);
        let nothing = Default::default();
        for (owner, wanted) in &work.changes {
            for difference in differences(self.contents.rows(owner).unwrap_or(&nothing), wanted) {
                let verb = if difference.missing { "add" } else { "remove" };
                println!("would {verb} {owner}: {}", difference.subject());
            }
        }
        println!("would send {} element operations", self.contents.change(&work.changes).operations());
        self.contents.accept(work.changes);
        Ok(())
    }

    fn check(&mut self) -> Result<(), KernelError> {
        Ok(())
    }
}
