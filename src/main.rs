//! `breakeven`: should we run this model ourselves, on what hardware, and what does it really cost against a managed API?

mod actuals;
mod bench;
mod bench_engine;
mod cli;
mod compare;
mod console;
mod diff;
mod download;
mod endpoint;
mod explain;
mod export;
mod fit;
mod hardware;
mod history;
mod import;
mod init;
mod interrupt;
mod journal;
mod kubernetes;
mod kubernetes_job;
mod levers;
mod live;
mod load;
mod merge;
mod model;
mod plan;
mod policy;
mod prices;
mod progress;
mod repeat;
mod report;
mod run;
mod schema;
mod self_check;
mod serve;
mod simulate;
mod subject;
mod ui;

use std::process::ExitCode;

use clap::Parser as _;

use cli::{Cli, Command};
use console::Answer;

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Run(arguments) => run::run(&arguments),
        Command::Bench(arguments) => bench::bench(&arguments),
        Command::Plan(arguments) => plan::plan(&arguments),
        Command::Simulate(arguments) => simulate::simulate(&arguments),
        Command::Import(arguments) => import::import(&arguments),
        Command::Kubernetes(arguments) => kubernetes::kubernetes(&arguments),
        Command::Report(arguments) => report::report(&arguments),
        Command::Compare(arguments) => compare::compare(&arguments),
        Command::Export(arguments) => export::export(&arguments),
        Command::Explain(arguments) => explain::explain(&arguments),
        Command::Levers(arguments) => levers::levers(&arguments),
        Command::Diff(arguments) => diff::diff(&arguments),
        Command::Actuals(arguments) => actuals::actuals(&arguments),
        Command::Merge(arguments) => merge::merge(&arguments),
        Command::Schema(arguments) => schema::schema(&arguments),
        Command::Ui(arguments) => ui::ui(arguments),
        Command::History(arguments) => history::history(&arguments),
        Command::Serve(arguments) => serve::serve(&arguments),
        Command::Init(arguments) => init::init(&arguments),
        Command::Hardware(arguments) => hardware::hardware(&arguments),
        Command::Fit(arguments) => fit::fit(&arguments),
        Command::Prices(arguments) => prices::prices(&arguments),
    };
    match outcome {
        Ok(answer) => answer.exit_code(),
        Err(error) if console::is_broken_pipe(&error) => Answer::Yes.exit_code(),
        Err(error) => {
            console::error(&error);
            ExitCode::from(console::EXIT_BAD_INPUT)
        }
    }
}
