//! The command line as clap reads it.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Observability agent: takes telemetry in, works on it in pipelines, sends it on.
///
/// Reads the OpenTelemetry Collector's configuration. Without a subcommand it does `run`.
#[derive(Debug, Parser)]
#[command(
    name = "radiosonde",
    version,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "Examples:\n  \
        radiosonde --config agent.yaml\n  \
        radiosonde validate --config agent.yaml --deny-warnings\n  \
        radiosonde print-config --config base.yaml --config site.yaml --set exporters.otlp.endpoint=host:4317\n\n\
        Exit codes: 0 ok, 1 finding or failed operation, 2 usage, 3 agent unreachable, 78 invalid configuration (run)."
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub run: RunArgs,
}

/// The command line of the agent itself.
#[derive(Debug, Parser)]
#[command(name = "radiosonde")]
struct RunOnly {
    #[command(flatten)]
    run: RunArgs,
}

impl Cli {
    /// Reads the arguments of a process. The agent starts without the tree of all commands: an idle one would keep in memory
    /// what only that touches. Whatever the short form does not understand is judged by the whole.
    pub fn of_process(args: &[OsString]) -> Result<Self, clap::Error> {
        let says_run = args.get(1).is_some_and(|first| first == "run");
        let begins_with_option = args
            .get(1)
            .is_some_and(|first| first.as_encoded_bytes().starts_with(b"-"));
        if says_run || begins_with_option {
            let own = args.iter().take(1).chain(args.iter().skip(1 + usize::from(says_run)));
            if let Ok(RunOnly { run }) = RunOnly::try_parse_from(own) {
                return Ok(Self { command: None, run });
            }
        }
        Self::try_parse_from(args)
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the agent (the default).
    Run(RunArgs),
    /// A local collector with its store, page and terminal view: nothing to configure. `dev -- CMD` runs an application.
    Dev(Box<super::dev::DevArgs>),
    /// Check a configuration: every problem with its place; no network, no state.
    Validate(ValidateArgs),
    /// Print the configuration as merged and expanded, secrets redacted.
    PrintConfig(PrintConfigArgs),
    /// List the components of this build.
    Components {
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Print the version.
    Version,
    /// The agent on a simulated AWS, for a first look: no configuration, no account.
    #[cfg(all(feature = "aws", feature = "simulator"))]
    Demo(super::demo::DemoArgs),
    /// The simulated AWS alone, for tests.
    #[cfg(all(feature = "aws", feature = "simulator"))]
    #[command(hide = true)]
    Simulator(super::simulator::SimulatorArgs),
    /// What a configuration needs of AWS.
    #[cfg(feature = "aws")]
    #[command(subcommand)]
    Aws(AwsCommand),
    /// Traces that X-Ray will forget, and archived ones.
    #[cfg(feature = "aws")]
    #[command(subcommand)]
    Retention(RetentionCommand),
    /// Look into the queues on the disk while no agent runs.
    #[command(subcommand)]
    Queue(super::queue::QueueCommand),
    /// Check, test and explain alert rules.
    #[command(subcommand)]
    Rules(super::rules::RulesCommand),
    /// Read what a running `dev` has stored: traces, spans, logs, metrics, errors, services.
    Query(Box<super::tools::QueryArgs>),
    /// Show what comes in, record by record.
    Tail(super::tools::TailArgs),
    /// Show the records that pass one component of a running agent.
    Tap(super::tools::TapArgs),
    /// Show what every component of a running agent does: rates, queues, losses.
    Top(super::tools::TopArgs),
    /// Wait until something fits a query: an assertion for scripts.
    Wait(super::tools::WaitArgs),
    /// Compare two runs or two traces.
    Diff(super::tools::DiffArgs),
    /// Write what is stored to a file: OTLP as JSON or protobuf, one trace as Markdown or as a page.
    Export(super::tools::ExportArgs),
    /// Read a file of `export`, of the file exporter or of Jaeger.
    Import(super::tools::ImportArgs),
    /// Send one test record.
    Send(super::tools::SendArgs),
    /// Find out why nothing arrives: ports, environment, protocols, clocks.
    Doctor(super::tools::DoctorArgs),
    /// Serve the queries to a coding assistant, by the Model Context Protocol on standard input and output.
    Mcp(super::tools::McpArgs),
    /// Print the completion script of a shell.
    Completion {
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Ask a running agent how it is.
    Status {
        /// Its admin listener.
        #[arg(
            long = "url",
            visible_alias = "endpoint",
            env = "RADIOSONDE_URL",
            value_name = "HOST:PORT",
            default_value = "localhost:4320"
        )]
        endpoint: String,
        #[arg(long, value_enum, default_value_t = super::status::Format::Text)]
        format: super::status::Format,
    },
}

/// `aws`.
#[cfg(feature = "aws")]
#[derive(Clone, Debug, Subcommand)]
pub enum AwsCommand {
    /// Print the least IAM policy for the AWS receivers of a configuration.
    IamPolicy {
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Print how many series a configuration polls of CloudWatch and what that will cost; makes free calls only.
    ///
    /// Exit codes: 0 it fits the budget, 1 it does not, or AWS or the configuration is in the way.
    Plan {
        #[command(flatten)]
        config: ConfigArgs,
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
}

/// `retention`.
#[cfg(feature = "aws")]
#[derive(Clone, Debug, Subcommand)]
pub enum RetentionCommand {
    /// Check now which traces X-Ray will forget without a complete copy. Writes nothing.
    ///
    /// Exit codes: 0 all is well; 1 traces are due, or copies are incomplete or not kept long enough; 2 traces are at risk or
    /// lost; 3 the state of some is unknown, the check failed, or wrong usage. If several apply: 2, then 3, then 1.
    Check(super::retention::CheckArgs),
    /// Play archived traces back into a pipeline or to another backend.
    ///
    /// Exit codes: 0 everything was delivered, 1 something was not, 2 wrong usage.
    Restore(super::retention_restore::RestoreArgs),
}

/// Where the configuration comes from.
#[derive(Args, Clone, Debug, Default)]
pub struct ConfigArgs {
    /// A file, env:NAME or yaml:TEXT; several are merged in order.
    #[arg(short, long = "config", value_name = "URI")]
    pub config: Vec<String>,
    /// Sets one value above every --config.
    #[arg(long = "set", value_name = "KEY.KEY=VALUE")]
    pub set: Vec<String>,
    /// Names of gates: +name or name switches on, -name off.
    #[arg(long, value_name = "LIST", value_delimiter = ',', allow_hyphen_values = true)]
    pub feature_gates: Vec<String>,
}

/// `run`.
#[derive(Args, Clone, Debug, Default)]
pub struct RunArgs {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Where queues, cursors and other state are kept.
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Serve our own metrics under their names with and without suffixes.
    #[arg(long)]
    pub compat_metrics: bool,
}

/// `validate`.
#[derive(Args, Clone, Debug)]
pub struct ValidateArgs {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Exit 1 for warnings too.
    #[arg(long)]
    pub deny_warnings: bool,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// `print-config`.
#[derive(Args, Clone, Debug)]
pub struct PrintConfigArgs {
    #[command(flatten)]
    pub config: ConfigArgs,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// How to write the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Text,
    Json,
}
