// References between the files: each must lead to something that is declared, and none in a circle. terraform says the same;
// this is for machines without it.

const REFERENCE = /\b(var|local|data\.google_[a-z0-9_]+|google_[a-z0-9_]+)\.([A-Za-z_][A-Za-z0-9_-]*)(?:\[[^\]]*\])?(?:\.([A-Za-z_][A-Za-z0-9_]*))?/g;
const EXPRESSION = /\$\{/;

// Strings with an expression in them; literals (documentation, names in a SQL text) are skipped.
function* expressions(value) {
  if (typeof value === 'string') {
    if (EXPRESSION.test(value)) yield value;
  } else if (value && typeof value === 'object') {
    for (const inner of Object.values(value)) yield* expressions(inner);
  }
}

// The parts of a text that are expressions, without the literals inside of them.
function code(text) {
  let out = '';
  for (const [, inner] of text.matchAll(/\$\{((?:[^{}]|\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*\})*)\}/g)) out += ` ${inner} `;
  return out.replace(/"(?:[^"\\$]|\\.)*"/g, '""');
}

export function referencesIn(value) {
  const found = [];
  for (const text of expressions(value)) {
    for (const [, kind, name, attribute] of code(text).matchAll(REFERENCE)) found.push({ kind, name, attribute });
  }
  return found;
}

// { "local.x" | "var.x" | "google_t.name" | "data.google_t.name" => value }
export function declarations({ files, blocks }) {
  const declared = new Map();
  for (const parsed of Object.values(files)) {
    for (const name of Object.keys(parsed.variable ?? {})) declared.set(`var.${name}`, null);
    for (const group of parsed.locals ?? []) for (const [name, value] of Object.entries(group)) declared.set(`local.${name}`, value);
  }
  for (const { kind, type, name, body } of blocks) declared.set(`${kind === 'data' ? 'data.' : ''}${type}.${name}`, body);
  return declared;
}

export function unknownReferences(source, schema) {
  const declared = declarations(source);
  const problems = [];
  for (const [file, parsed] of Object.entries(source.files)) {
    for (const { kind, name, attribute } of referencesIn(parsed)) {
      const target = `${kind}.${name}`;
      const type = (kind.startsWith('data.') ? schema.data : schema.resources)[kind.replace('data.', '')];
      if (!declared.has(target)) problems.push(`${file}: there is no ${target}`);
      else if (type && attribute && !(attribute in type.arguments || attribute in type.blocks || attribute in type.computed)) problems.push(`${file}: ${target} has no attribute '${attribute}'`);
    }
  }
  return problems;
}

// A circle as a list of names, or null.
export function circle(source) {
  const declared = declarations(source);
  const done = new Set();
  const walk = (name, path) => {
    if (path.includes(name)) return [...path.slice(path.indexOf(name)), name];
    if (done.has(name) || !declared.has(name)) return null;
    for (const { kind, name: next } of referencesIn(declared.get(name))) {
      const found = walk(`${kind}.${next}`, [...path, name]);
      if (found) return found;
    }
    done.add(name);
    return null;
  };
  for (const name of declared.keys()) {
    const found = walk(name, []);
    if (found) return found;
  }
  return null;
}
