//! Delta debugging: the shortest list of steps that still fails in the same way.

use crate::run::{Outcome, run};
use crate::step::{Script, Step};

/// Shortens `script`, which fails by `runs`' judgement, until no step can be left out and no number halved.
pub fn shrink(script: &Script) -> Script {
    let failure = run(script).failure().map(String::from);
    shrink_with(script, |shorter| {
        let outcome: Outcome = run(shorter);
        failure.is_some() && outcome.failure().map(String::from) == failure
    })
}

/// The same with any judgement of what still fails.
pub fn shrink_with(script: &Script, mut fails: impl FnMut(&Script) -> bool) -> Script {
    let mut best = script.clone();
    loop {
        let before = best.clone();
        drop_steps(&mut best, &mut fails);
        lower_numbers(&mut best, &mut fails);
        if best == before {
            return best;
        }
    }
}

/// Leaves out halves, quarters, and so on down to single steps.
fn drop_steps(best: &mut Script, fails: &mut impl FnMut(&Script) -> bool) {
    let mut size = best.steps.len().div_ceil(2);
    while size > 0 {
        let mut at = 0;
        while at < best.steps.len() {
            let mut shorter = best.clone();
            shorter.steps.drain(at..(at + size).min(best.steps.len()));
            if fails(&shorter) {
                *best = shorter;
            } else {
                at += size;
            }
        }
        size = if size == 1 { 0 } else { size.div_ceil(2) };
    }
}

/// Makes numbers zero, or else halves them.
fn lower_numbers(best: &mut Script, fails: &mut impl FnMut(&Script) -> bool) {
    for at in 0..best.steps.len() {
        let numbers = best.steps[at].numbers_mut().len();
        for nth in 0..numbers {
            for lower in [|_| 0, |number: u64| number / 2] {
                let mut smaller = best.clone();
                if lower_one(&mut smaller.steps[at], nth, lower) && fails(&smaller) {
                    *best = smaller;
                }
            }
        }
    }
}

fn lower_one(step: &mut Step, nth: usize, lower: impl Fn(u64) -> u64) -> bool {
    let mut numbers = step.numbers_mut();
    let Some(number) = numbers.get_mut(nth) else { return false };
    let lowered = lower(**number);
    let is_lower = lowered < **number;
    **number = lowered;
    is_lower
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generator::script;

    #[test]
    fn what_matters_is_left_and_nothing_else() {
        let mut long = script(3, 3, 600);
        long.steps.insert(40, Step::Crash { node: 2 });
        long.steps.insert(90, Step::Partition { mask: 1 << 40 });
        let fails = |script: &Script| {
            let crash = script.steps.iter().position(|step| matches!(step, Step::Crash { .. }));
            let apart = |step: &Step| matches!(step, Step::Partition { mask } if *mask >= 1000);
            crash.is_some_and(|at| script.steps[at..].iter().any(apart))
        };
        assert!(fails(&long));
        let short = shrink_with(&long, fails);
        assert_eq!(short.steps.len(), 2, "{short}");
        assert!(matches!(short.steps[..], [Step::Crash { node: 0 }, Step::Partition { mask: 1000..2000 }]));
    }
}
