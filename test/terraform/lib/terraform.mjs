// Running terraform itself, on a copy of terraform/, with the stand-in provider (stand_in_provider.mjs) from a local mirror. It is
// the same init as a deployer's, without a network.
import { execFileSync, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { ROOT, TERRAFORM, loadSchema } from './files.mjs';

// As terraform names it.
const PLATFORM = `${process.platform}_${process.arch === 'x64' ? 'amd64' : process.arch}`;
const LIMIT_MS = 240_000;
const OUTPUT_BYTES = 256 << 20;
const STAND_IN = fileURLToPath(new URL('stand_in_provider.mjs', import.meta.url));

const LEAST = [1, 9]; // versions.tf

const isOld = (version) => {
  const [major, minor] = version.split('.').map(Number);
  return major < LEAST[0] || (major === LEAST[0] && minor < LEAST[1]);
};

// { version, why }: why says in plain words that terraform's own checks cannot run, null where they can. A warning about a missing
// settings file must not stand before the version.
export function terraformHere() {
  const found = spawnSync('terraform', ['version', '-json'], { encoding: 'utf8', env: { ...process.env, TF_CLI_CONFIG_FILE: '/dev/null', CHECKPOINT_DISABLE: '1' } });
  if (found.status !== 0) return { version: null, why: 'terraform: not present, fmt/validate/test not run' };
  const version = JSON.parse(found.stdout).terraform_version;
  return { version, why: isOld(version) ? `terraform ${version}: older than ${LEAST.join('.')}, fmt/validate/test not run` : null };
}

// What terraform fmt would change; "" when nothing.
export function formatted() {
  const done = spawnSync('terraform', ['fmt', '-check', '-recursive', '-diff', '-no-color'], { cwd: TERRAFORM, encoding: 'utf8', env: { ...process.env, TF_CLI_CONFIG_FILE: '/dev/null' } });
  if (done.error) throw done.error;
  return done.stdout + done.stderr;
}

// The part of the schema that these files use: the whole would be sent for every command.
function usedSchema(types) {
  const schema = loadSchema();
  const only = (group) => Object.fromEntries(Object.entries(group).filter(([name]) => types.has(name)));
  return { ...schema, resources: only(schema.resources), data: only(schema.data) };
}

export class Workspace {
  constructor(types) {
    this.folder = fs.mkdtempSync(path.join(os.tmpdir(), 'st-terraform-'));
    this.terraform = path.join(this.folder, 'repository', 'terraform');
    // Only what is in the repository: a developer's own variables, state and lock file stay out.
    const ours = (name) => !/(^|\/)\.terraform|\.tfvars$|\.tfstate/.test(name);
    for (const name of ['terraform', 'config']) fs.cpSync(path.join(ROOT, name), path.join(this.folder, 'repository', name), { recursive: true, filter: ours });
    this.#mirror(types);
  }

  #mirror(types) {
    const version = loadSchema().provider;
    const mirror = path.join(this.folder, 'mirror');
    const plugin = path.join(mirror, 'registry.terraform.io/hashicorp/google', version, PLATFORM);
    const used = path.join(this.folder, 'schema.json');
    fs.mkdirSync(plugin, { recursive: true });
    fs.writeFileSync(used, JSON.stringify(usedSchema(types)));
    fs.writeFileSync(path.join(plugin, `terraform-provider-google_v${version}_x5`), `#!/bin/sh\nexec '${process.execPath}' '${STAND_IN}' '${used}'\n`, { mode: 0o755 });
    this.settings = path.join(this.folder, 'terraform.rc');
    fs.writeFileSync(this.settings, `provider_installation {\n  filesystem_mirror {\n    path = "${mirror}"\n  }\n}\n`);
  }

  // The output, whatever the exit code was; throws when terraform did not run to its end.
  run(...words) {
    const env = { PATH: process.env.PATH, HOME: this.folder, TF_CLI_CONFIG_FILE: this.settings, TF_IN_AUTOMATION: '1', CHECKPOINT_DISABLE: '1', TF_DISABLE_PLUGIN_TLS: '1', NO_COLOR: '1' };
    const done = spawnSync('terraform', words, { cwd: this.terraform, encoding: 'utf8', env, timeout: LIMIT_MS, maxBuffer: OUTPUT_BYTES });
    if (done.error) throw done.error;
    return { ok: done.status === 0, text: done.stdout + done.stderr, stdout: done.stdout };
  }

  close() {
    fs.rmSync(this.folder, { recursive: true, force: true });
  }
}

export function product(...words) {
  const build = process.env.ST_BUILD ?? path.join(ROOT, 'build');
  return execFileSync(path.join(build, 'st-ingestor'), [...words, '--env-file', '/dev/null'], {
    encoding: 'utf8', cwd: ROOT, env: { PATH: process.env.PATH, BQ_PROJECT_ID: 'test-project' }, maxBuffer: OUTPUT_BYTES,
  });
}
