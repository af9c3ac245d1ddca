"use strict";

// A page made from /openapi.json, with nothing from elsewhere.
function node(kind, text, ...children) {
  const made = document.createElement(kind);
  if (text) made.textContent = text;
  made.append(...children);
  return made;
}

function typeOf(schema) {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.enum) return schema.enum.join(" | ");
  if (schema.anyOf) return schema.anyOf.map(typeOf).join(" | ");
  if (schema.type === "array") return `${typeOf(schema.items)}[]`;
  if (schema.type === "object") return `{ name: ${typeOf(schema.additionalProperties) || "any"} }`;
  return schema.type ?? "any";
}

function table(heads, rows) {
  const head = node("tr", "", ...heads.map((name) => node("th", name)));
  return node("table", "", head, ...rows.map((row) => node("tr", "", ...row.map((cell) => node("td", cell)))));
}

function contents(content) {
  return Object.entries(content ?? {})
    .map(([media, { schema }]) => (schema ? typeOf(schema) : media))
    .join(", ");
}

function operation(path, method, described) {
  const section = node("section", "", node("h2", `${method.toUpperCase()} ${path}`), node("p", described.summary));
  const asked = (described.parameters ?? []).map((one) => [
    one.name,
    typeOf(one.schema),
    [one.description, one.schema.default === undefined ? "" : `Default: ${one.schema.default}`].filter((part) => part).join(". "),
  ]);
  if (described.requestBody) asked.push(["body", contents(described.requestBody.content), "may be left out"]);
  if (asked.length) section.append(table(["given", "type", ""], asked));
  const answers = Object.entries(described.responses);
  section.append(table(["answer", "what", ""], answers.map(([code, one]) => [code, contents(one.content), one.description])));
  return section;
}

function model(name, schema) {
  const rows = Object.entries(schema.properties ?? {}).map(([field, one]) => [field, typeOf(one), one.description ?? ""]);
  const details = node("details", "", node("summary", name), node("p", schema.description ?? ""));
  details.append(table(["field", "type", ""], rows));
  return details;
}

fetch("/openapi.json", { cache: "no-store" })
  .then((answer) => answer.json())
  .then((api) => {
    const operations = Object.entries(api.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, described]) => operation(path, method, described)),
    );
    const models = Object.entries(api.components.schemas).map(([name, schema]) => model(name, schema));
    const parts = [...operations, node("section", "", node("h2", "Models"), ...models)];
    document.getElementById("api").replaceChildren(...parts);
  })
  .catch(() => {
    document.getElementById("api").textContent = "The run does not answer.";
  });
