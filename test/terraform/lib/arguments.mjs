// Are all arguments of the files in the provider's schema, are the required ones there, and is nothing set that the provider
// computes? Works on parsed files, without terraform.

// What terraform itself understands in every resource.
const META = new Set(['count', 'for_each', 'depends_on', 'provider', 'lifecycle', 'provisioner', 'connection']);

const isExpression = (value) => typeof value === 'string' && value.includes('${');

function fits(type, value) {
  if (value === null || isExpression(value)) return true;
  if (Array.isArray(type)) return type[0] === 'map' ? typeof value === 'object' && !Array.isArray(value) : Array.isArray(value);
  if (type === 'number') return typeof value === 'number';
  if (type === 'bool') return typeof value === 'boolean';
  return type === 'dynamic' || typeof value === 'string';
}

// Nested blocks by name, those made by `dynamic` included: { name: [body] }
function nestedBlocks(body, schema) {
  const found = {};
  for (const [name, value] of Object.entries(body)) {
    if (name in schema.blocks) found[name] = [value].flat();
  }
  for (const [name, made] of Object.entries(body.dynamic ?? {})) {
    found[name] = [...(found[name] ?? []), ...made.flatMap((block) => block.content)];
  }
  return found;
}

function checkArguments(where, body, schema, problems, skip) {
  for (const [name, value] of Object.entries(body)) {
    if (skip.has(name) || name in schema.blocks || name === 'dynamic') continue;
    const argument = schema.arguments[name];
    if (argument && !fits(argument.type, value)) problems.push(`${where}: '${name}' must be of type ${JSON.stringify(argument.type)}`);
    else if (!argument && name in (schema.computed ?? {})) problems.push(`${where}: '${name}' is computed by the provider and cannot be set`);
    else if (!argument) problems.push(`${where}: there is no argument or block '${name}'`);
  }
}

function checkBody(where, body, schema, problems, skip = new Set()) {
  const nested = nestedBlocks(body, schema);
  checkArguments(where, body, schema, problems, skip);
  for (const [name, { required }] of Object.entries(schema.arguments)) {
    if (required && !(name in body)) problems.push(`${where}: required argument '${name}' is missing`);
  }
  for (const [name, { required }] of Object.entries(schema.blocks)) {
    if (required && !(name in nested)) problems.push(`${where}: required block '${name}' is missing`);
  }
  for (const [name, bodies] of Object.entries(nested)) {
    const inner = schema.blocks[name];
    if (!inner) problems.push(`${where}: there is no block '${name}'`);
    else if (!inner.many && bodies.length > 1) problems.push(`${where}: block '${name}' may stand once`);
    else bodies.forEach((one) => checkBody(`${where}.${name}`, one, inner.block, problems));
  }
}

// One line per problem.
export function problemsOf(blocks, schema) {
  const problems = [];
  for (const { file, kind, type, name, body } of blocks) {
    const where = `${file}: ${type}.${name}`;
    const found = (kind === 'data' ? schema.data : schema.resources)[type];
    if (found) checkBody(where, body, found, problems, META);
    else problems.push(`${where}: the provider has no ${kind} '${type}'`);
  }
  return problems;
}

// Every place where a required argument or block, or a fresh argument, can be taken out or put in:
// { where, change(copy) }, to be done on a deep copy of the same blocks.
export function mutationsOf(blocks, schema) {
  const found = [];
  const visit = (where, reach, body, block) => {
    for (const group of ['arguments', 'blocks']) {
      for (const [name, { required }] of Object.entries(block[group])) {
        if (required) found.push({ where: `${where} without ${name}`, change: (copy) => remove(reach(copy), name) });
      }
    }
    found.push({ where: `${where} with an invented argument`, change: (copy) => { reach(copy).invented_argument = 'x'; } });
    for (const [name, bodies] of Object.entries(nestedBlocks(body, block))) {
      bodies.forEach((one, i) => visit(`${where}.${name}`, (copy) => nestedBlocks(reach(copy), block)[name][i], one, block.blocks[name].block));
    }
  };
  blocks.forEach(({ kind, type, name, body }, i) => visit(`${type}.${name}`, (copy) => copy[i].body, body, (kind === 'data' ? schema.data : schema.resources)[type]));
  return found;
}

function remove(body, name) {
  delete body[name];
  if (body.dynamic) delete body.dynamic[name];
}
