// Validates the committed documents with public tools: node validate.mjs SCHEMAS < samples
// Each line of samples is {"schema": path, "instance": ...}. Prints what is wrong, and ends with 1 if anything is.
import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { Parser } from "@asyncapi/parser";
import Ajv2020 from "ajv/dist/2020.js";
import addFormats from "ajv-formats";

const [schemas] = process.argv.slice(2);
const wrong = [];

const { document, diagnostics } = await new Parser().parse(await readFile(join(schemas, "asyncapi.json"), "utf8"));
for (const { severity, path, message } of diagnostics) {
  if (severity === 0) wrong.push(`asyncapi.json: ${path.join(".")}: ${message}`);
}

const ajv = new Ajv2020({ strict: true, strictTypes: false, allErrors: true });
addFormats(ajv);
const validators = {};
for (const path of await readdir(schemas, { recursive: true })) {
  if (!path.endsWith(".json") || /^(index|asyncapi|typescript)\b/.test(path)) continue;
  try {
    validators[path] = ajv.compile(JSON.parse(await readFile(join(schemas, path), "utf8")));
  } catch (error) {
    wrong.push(`${path}: ${error.message}`);
  }
}

let samples = 0;
for await (const line of createInterface({ input: process.stdin })) {
  const { schema, instance } = JSON.parse(line);
  samples += 1;
  const validate = validators[schema];
  if (!validate) wrong.push(`${schema} is missing`);
  else if (!validate(instance)) {
    wrong.push(...validate.errors.map(({ instancePath, message }) => `${schema}: ${instancePath} ${message}`));
  }
}
const channels = document?.channels().all().map((channel) => [channel.id(), channel.messages().all().length]);
console.log(JSON.stringify({ schemas: Object.keys(validators).length, samples, channels, wrong }));
