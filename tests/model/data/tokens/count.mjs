// Writes counts.json: the number of o200k_base tokens of every sample beside this file.
//
//   npm install --prefix /some/folder js-tiktoken@1.0.21
//   node count.mjs /some/folder
//
// Text that looks like a special token is counted as ordinary text.
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";

const here = import.meta.dirname;
const require = createRequire(join(resolve(process.argv[2] ?? here), "package.json"));
const { Tiktoken } = require("js-tiktoken/lite");
const tokenizer = new Tiktoken(require("js-tiktoken/ranks/o200k_base"));

const counts = {};
for (const name of readdirSync(here).sort()) {
  if (!name.endsWith(".txt")) continue;
  counts[name] = tokenizer.encode(readFileSync(join(here, name), "utf8"), [], []).length;
}
writeFileSync(join(here, "counts.json"), `${JSON.stringify(counts, null, 2)}\n`);
