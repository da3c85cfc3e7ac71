// JSON Schema in words that are read quickly: one line a member, indented, with what it takes.

/** Lines of [depth, name, type, text]. */
export function lines(description, schema) {
  const out = [];
  walk(description, schema, 0, out, []);
  return out;
}

export function resolve(description, thing) {
  let found = thing;
  for (let depth = 0; found?.$ref && depth < 10; depth++) {
    found = found.$ref.slice(2).split('/').reduce((at, key) => at?.[key.replaceAll('~1', '/').replaceAll('~0', '~')], description);
  }
  return found ?? {};
}

function walk(description, given, depth, out, above) {
  const schema = resolve(description, given);
  if (above.includes(schema) || depth > 5) return;
  const within = [...above, schema];
  for (const part of [...(schema.allOf ?? []), ...(schema.anyOf ?? []), ...(schema.oneOf ?? [])]) {
    if (resolve(description, part).properties || resolve(description, part).items) walk(description, part, depth, out, within);
  }
  if (schema.items && !schema.properties) walk(description, schema.items, depth, out, within);
  for (const [name, member] of Object.entries(schema.properties ?? {})) {
    const one = resolve(description, member);
    out.push({ depth, name, type: typeOf(description, member), needed: schema.required?.includes(name) ?? false, text: member.description ?? said(one) });
    walk(description, member, depth + 1, out, within);
  }
}

// the description of a schema that has members is about those, and stands above them
const said = (schema) => (schema.properties ? '' : schema.description ?? (schema.anyOf ?? []).map((one) => one.description).filter(Boolean).join(' '));

export function typeOf(description, given) {
  const schema = resolve(description, given);
  const parts = schema.anyOf ?? schema.oneOf;
  if (parts) return parts.map((part) => typeOf(description, part)).join(' or ');
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(' | ');
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.type === 'array' || schema.items) return `list of ${typeOf(description, schema.items ?? {})}`;
  const kind = [schema.type].flat().filter(Boolean).join(' or ') || (schema.properties ? 'object' : 'anything');
  return kind + bounds(schema);
}

function bounds(schema) {
  const out = [];
  if (schema.format) out.push(schema.format);
  if (schema.minLength !== undefined || schema.maxLength !== undefined) out.push(`${schema.minLength ?? 0}–${schema.maxLength ?? '…'} characters`);
  if (schema.minimum !== undefined || schema.maximum !== undefined) out.push(`${schema.minimum ?? '…'} to ${schema.maximum ?? '…'}`);
  return out.length ? ` (${out.join(', ')})` : '';
}
