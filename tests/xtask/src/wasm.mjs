// Prints the hash of a scenario as hex: node wasm.mjs MODULE SEED ALTERED
import { readFile } from "node:fs/promises";

const [path, seed, altered] = process.argv.slice(2);
const { instance } = await WebAssembly.instantiate(await readFile(path), {});
const words = [0, 1, 2, 3].map((word) => instance.exports.hash_word(BigInt(seed), Number(altered), word));
console.log(words.map((word) => BigInt.asUintN(64, word).toString(16).padStart(16, "0")).join(""));
