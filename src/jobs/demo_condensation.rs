//! A demonstration: the requirement's pipeline of two questions, with paced steps.
//!
//! It does no work and only shows what a run looks like. Its title, its log and its summary say so.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};

use crate::engine::{AdminJob, JobError, RunContext};
use crate::logger::{JobLogger, Pipeline};
use crate::model::StepSpec;

/// Paces through the argument condensation of two questions. `{"pace": ms}` sets how long a batch takes
/// (50 to 5 000, 600 where nothing is said), `{"fail": true}` lets it fail, `{"hang": true}` lets it stop
/// listening half-way.
pub struct DemoCondensation;

const BATCHES: u32 = 5;

#[async_trait]
impl AdminJob for DemoCondensation {
    fn feature(&self) -> &'static str {
        "demo-condensation"
    }

    fn title(&self) -> &'static str {
        "Demonstration: condense arguments"
    }

    fn summary(&self) -> &'static str {
        "A demonstration that changes nothing: two questions, seven steps, half a minute. Good for trying abort and force-fail."
    }

    // Two copies of a demonstration do no harm.
    fn one_at_a_time(&self) -> bool {
        false
    }

    async fn run(&self, context: RunContext) -> Result<Value, JobError> {
        let logger = &context.logger;
        let asked = |name: &str| context.input.as_ref().and_then(|input| input.get(name));
        let pace =
            Duration::from_millis(asked("pace").and_then(Value::as_u64).unwrap_or(600).clamp(50, 5_000));
        let flag = |name: &str| asked(name).and_then(Value::as_bool).unwrap_or(false);

        logger.info("Demonstration: no data is read or changed");
        logger.initialize_pipeline(
            Pipeline::new()
                .step(StepSpec::new("data-loading").title("Load data"))
                .step(StepSpec::new("question-processing").title("Condense questions").weight(8.0))
                .step(StepSpec::new("save").title("Save results").weight(0.5)),
        );
        for _ in logger.progress_over("data-loading", 0..3) {
            pause(logger, pace).await?;
        }
        logger.info("Loaded 2 questions with 391 answers");
        logger.define_sub_operations(
            "question-processing",
            [
                StepSpec::new("question-q1-boolean-pros").title("q1 boolean · pros"),
                StepSpec::new("question-q1-boolean-cons").title("q1 boolean · cons"),
                StepSpec::new("question-q2-categorical-choice1-pros").title("q2 categorical · choice 1"),
                StepSpec::new("question-q2-categorical-choice2-pros").title("q2 categorical · choice 2"),
                StepSpec::new("question-q2-categorical-choice3-pros").title("q2 categorical · choice 3"),
            ],
        );
        let steps = [
            "question-q1-boolean-pros",
            "question-q1-boolean-cons",
            "question-q2-categorical-choice1-pros",
            "question-q2-categorical-choice2-pros",
            "question-q2-categorical-choice3-pros",
        ];
        for (number, step) in steps.into_iter().enumerate() {
            logger.info(format!("Processing step {} of {}: {step}", number + 1, steps.len()));
            for batch in logger.progress_over(step, 1..=BATCHES) {
                pause(logger, pace).await?;
                logger
                    .info(format!("Batch {batch} of {BATCHES}: 40 comments, {} tokens", 2_118 - 37 * batch));
                if number == 1 && batch == 2 {
                    logger.warning("Low confidence in answer (0.41), keeping both phrasings");
                }
                if number == 2 && batch == 3 {
                    if flag("fail") {
                        logger.error("API rate limit exceeded");
                        return Err(JobError::Failed("API rate limit exceeded".to_owned()));
                    }
                    if flag("hang") {
                        // Like a program that hangs, it does not look whether it is asked to stop.
                        std::future::pending::<()>().await;
                    }
                }
            }
        }
        pause(logger, pace).await?;
        logger.update_sub_operation("save", 1.0);
        logger.info("2 questions, 14 arguments");
        Ok(json!({"questions": 2, "arguments": 14, "demonstration": true}))
    }
}

/// Waits, and stops waiting when the job is asked to stop.
async fn pause(logger: &JobLogger, pace: Duration) -> Result<(), JobError> {
    let cancelled = logger.cancellation();
    tokio::select! {
        () = tokio::time::sleep(pace) => {}
        () = cancelled.cancelled() => {}
    }
    Ok(logger.check_cancelled()?)
}
