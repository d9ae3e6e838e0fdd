//! Prints the scenario's hash on this machine: `native SEED ALTERED`.

fn main() {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<u64>().unwrap_or(0));
    let (seed, altered) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let hash = peerage_wasm::scenario::run(seed, altered != 0);
    println!("{}", hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
}
