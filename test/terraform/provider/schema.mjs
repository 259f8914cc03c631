// The provider's argument schema as plain JSON, from the package that publishes it. Arguments: the package's folder, the file
// to write.
//
// The package describes each resource as a class and a configuration interface. What is in the interface may be set, and must be
// when it is not optional; what only the class has is computed by the provider. Argument names stand in the links to the
// documentation: the interface's own are in another style, from which a few (with digits) cannot be told.
import fs from 'node:fs';
import path from 'node:path';

const MAX_DEPTH = 30;
const PRIMITIVES = { string: 'string', number: 'number', boolean: 'bool' };
const [folder, file] = process.argv.slice(2);
const assembly = JSON.parse(fs.readFileSync(path.join(folder, '.jsii')));
const prefix = `${assembly.name}.`;

const snake = (name) => name.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`);
const textOf = (docs) => `${docs?.summary ?? ''} ${docs?.remarks ?? ''}`;
const link = (property) => textOf(property.docs).match(/\/docs(?:\/(resources|data-sources)\/([a-z0-9_]+))?#([a-z0-9_]+) /);
const ours = (fqn) => fqn?.startsWith(prefix);

// The struct behind a type: the blocks of an argument; null for plain values.
function structOf(type) {
  if (ours(type.fqn)) return { fqn: type.fqn, many: false };
  if (type.collection?.kind === 'array' && ours(type.collection.elementtype.fqn)) return { fqn: type.collection.elementtype.fqn, many: true };
  for (const member of type.union?.types ?? []) {
    const found = structOf(member);
    if (found) return found;
  }
  return null;
}

function plainType(type) {
  if (type.primitive) return PRIMITIVES[type.primitive] ?? 'dynamic';
  if (type.collection) return [type.collection.kind === 'map' ? 'map' : 'list', plainType(type.collection.elementtype)];
  if (type.fqn === 'cdktf.StringMap') return ['map', 'string'];
  if (type.fqn === 'cdktf.IResolvable') return 'bool'; // as the package writes a computed boolean
  const member = type.union?.types.find((candidate) => !candidate.fqn);
  return member ? plainType(member) : 'dynamic';
}

function blockOf(fqn, depth = 0) {
  if (depth > MAX_DEPTH) throw new Error(`${fqn}: nested too deeply`);
  const block = { arguments: {}, blocks: {} };
  for (const property of assembly.types[fqn].properties ?? []) {
    const name = link(property)?.[3] ?? snake(property.name);
    const struct = structOf(property.type);
    const required = !property.optional;
    if (struct) block.blocks[name] = { many: struct.many, required, block: blockOf(struct.fqn, depth + 1) };
    else block.arguments[name] = { type: plainType(property.type), required };
  }
  return block;
}

function computedOf(type, block) {
  const computed = {};
  for (const property of type.properties) {
    const name = snake(property.name);
    if (property.static || /Input$/.test(property.name) || name in block.arguments || name in block.blocks) continue;
    computed[name] = ours(property.type.fqn) ? 'dynamic' : plainType(property.type);
  }
  return computed;
}

const configuration = blockOf(`${prefix}provider.GoogleProviderConfig`);
delete configuration.arguments.alias; // terraform's own
const schema = { provider: null, package: `${assembly.name} ${assembly.version}`, configuration, resources: {}, data: {} };
for (const type of Object.values(assembly.types)) {
  const config = assembly.types[`${type.fqn}Config`];
  if (type.kind !== 'class' || !config?.properties?.length) continue;
  const where = config.properties.map(link).find(Boolean);
  if (!where?.[1]) continue;
  schema.provider ??= textOf(config.properties[0].docs).match(/hashicorp\/google\/([0-9.]+)\//)?.[1];
  const block = blockOf(config.fqn);
  const group = where[1] === 'resources' ? schema.resources : schema.data;
  group[`google_${where[2]}`] = { ...block, computed: computedOf(type, block) };
}
if (Object.keys(schema.resources).length < 1000) throw new Error('fewer resources than the provider has: the package has another form');
fs.writeFileSync(file, JSON.stringify(schema));
