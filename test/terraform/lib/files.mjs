// The files under test, parsed: terraform/*.tf by the HCL parser that terraform uses (as WebAssembly), config.json, the schema.
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parse } from '@cdktf/hcl2json';

export const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
export const TERRAFORM = path.join(ROOT, 'terraform');

export const readJson = (...names) => JSON.parse(fs.readFileSync(path.join(ROOT, ...names)));
export const loadSchema = () => readJson('.deps', 'terraform', 'provider_schema.json');
export const sourceNames = () => fs.readdirSync(TERRAFORM).filter((name) => name.endsWith('.tf')).sort();

// [{ file, kind: 'resource' | 'data', type, name, body }]
export function blocksOf(file, parsed) {
  const blocks = [];
  for (const kind of ['resource', 'data']) {
    for (const [type, named] of Object.entries(parsed[kind] ?? {})) {
      for (const [name, bodies] of Object.entries(named)) {
        for (const body of bodies) blocks.push({ file, kind, type, name, body });
      }
    }
  }
  return blocks;
}

// { blocks, files: { "x.tf": parsed } }
export async function loadTerraform() {
  const files = {};
  for (const name of sourceNames()) files[name] = await parse(name, fs.readFileSync(path.join(TERRAFORM, name), 'utf8'));
  return { files, blocks: Object.entries(files).flatMap(([file, parsed]) => blocksOf(file, parsed)) };
}
