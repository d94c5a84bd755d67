// Writes out /openapi.json: what can be asked, what comes back.
"use strict";

function make(tag, attributes, ...children) {
  const one = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) one.setAttribute(name, value);
  one.append(...children);
  return one;
}

function typeOf(schema) {
  if (schema.$ref) return schema.$ref.split("/").at(-1);
  const several = schema.anyOf || schema.oneOf;
  if (several) return several.map(typeOf).join(" or ");
  if (schema.enum) return schema.enum.join(" | ");
  if (schema.const) return schema.const;
  if (schema.type === "array") return `list of ${typeOf(schema.items || {})}`;
  if (schema.type === "object" && schema.additionalProperties) return `${typeOf(schema.additionalProperties)} by name`;
  return schema.type || "anything";
}

function shape(name, schema) {
  const needed = new Set(schema.required || []);
  const rows = Object.entries(schema.properties || {}).map(([field, of]) => make("tr", {},
    make("th", {scope: "row"}, make("code", {}, field), needed.has(field) ? " *" : ""),
    make("th", {}, typeOf(of)), make("th", {}, of.description || "")));
  return make("section", {id: name}, make("h2", {}, name), make("p", {class: "none"}, schema.description || ""),
    make("table", {}, make("tbody", {}, ...rows)));
}

function operation(method, path, of) {
  const body = of.requestBody && of.requestBody.content["application/json"].schema;
  const answers = Object.entries(of.responses).map(([status, one]) => {
    const content = one.content && Object.values(one.content)[0].schema;
    return make("li", {}, make("code", {}, status), ` ${content ? typeOf(content) : ""} `, make("span", {class: "none"}, one.description || ""));
  });
  return make("section", {}, make("h2", {}, make("code", {}, `${method.toUpperCase()} ${path}`), ` ${of.summary || ""}`),
    make("p", {class: "none"}, of.description || ""), ...(body ? [make("p", {}, `Takes ${typeOf(body)}.`)] : []),
    make("ul", {}, ...answers));
}

fetch("openapi.json").then((answer) => answer.json()).then((api) => {
  document.getElementById("models").textContent = api.info.description;
  const operations = Object.entries(api.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, of]) => operation(method, path, of)));
  const shapes = Object.entries(api.components.schemas).map(([name, schema]) => shape(name, schema));
  document.getElementById("operations").append(...operations, ...shapes);
});
