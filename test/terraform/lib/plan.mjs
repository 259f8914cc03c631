// What terraform would make: the plans of the runs of terraform's own tests.
import { Workspace } from './terraform.mjs';

const COLOUR = /\u001b\[[0-9;]*m/g;

// Runs terraform's tests once: { ok, runs: { "file run" => status }, failures: [text], plans: { run => Map(address => values) },
// adopted: { run => [id] } }
export function runTests(types) {
  const workspace = new Workspace(types);
  try {
    const init = workspace.run('init', '-backend=false', '-input=false', '-no-color');
    if (!init.ok) throw new Error(`terraform init: ${init.text.replace(COLOUR, '')}`);
    const validate = workspace.run('validate', '-no-color');
    const tests = workspace.run('test', '-json', '-verbose');
    return { validate: { ok: validate.ok, text: validate.text.replace(COLOUR, '') }, ...readTests(tests) };
  } finally {
    workspace.close();
  }
}

function readTests({ ok, stdout }) {
  const found = { ok, runs: {}, failures: [], plans: {}, adopted: {} };
  for (const line of stdout.split('\n')) {
    if (!line.startsWith('{')) continue;
    const event = JSON.parse(line);
    if (event.type === 'test_run' && event.test_run.status) found.runs[`${event.test_run.path} ${event.test_run.run}`] = event.test_run.status;
    if (event.type === 'diagnostic' && event.diagnostic.severity === 'error') found.failures.push(`${event['@testrun'] ?? ''}: ${event.diagnostic.summary}: ${event.diagnostic.detail ?? ''}`);
    if (event.type === 'test_plan') {
      const changes = event.test_plan.resource_changes ?? [];
      found.plans[event['@testrun']] = new Map(changes.map(({ address, change }) => [address, change.after]));
      found.adopted[event['@testrun']] = changes.flatMap(({ change }) => change.importing?.id ?? []);
    }
  }
  return found;
}
