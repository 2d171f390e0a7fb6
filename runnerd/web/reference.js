// The daemon's API, as /openapi.json describes it: every route with what it does and takes.
import {get} from "./api.js";
import {h, show} from "./dom.js";
import {PERMISSIONS} from "./approvals.js";
import {chip, empty, heading, input, muted, section, sub, trouble} from "./widgets.js";

export function reference(place) {
	let found = null,
		error = null,
		wanted = "";
	const search = input({
		type: "search",
		class: "search",
		placeholder: "Filter routes",
		"aria-label": "Filter routes",
		on: {
			input: event => {
				wanted = event.target.value.toLowerCase();
				draw();
			}
		}
	});

	const opened = new Set(); // routes; only of these all is shown

	function draw() {
		const shown = found ? routes(found).filter(each => each.text.includes(wanted)) : [];
		const tags = [...new Set(shown.map(each => each.tag))];
		show(
			place,
			heading("API", search),
			error && trouble(error),
			!found
				? !error && muted("Loading…")
				: [
						h(
							"p",
							{class: "section"},
							"As JSON: ",
							h("code", {}, "/openapi.json"),
							`. ${shown.length} of ${routes(found).length} routes.`
						),
						shown.length
							? tags.map(tag =>
									h(
										"div",
										{key: tag},
										section(
											tag.replaceAll("_", " "),
											shown.filter(each => each.tag === tag).map(each => route(each, found, opened, draw))
										)
									)
								)
							: empty("No route fits the filter")
					]
		);
	}

	draw();
	get("openapi.json").then(
		document => {
			found = document;
			draw();
		},
		failure => {
			error = failure;
			draw();
		}
	);
	return () => {};
}

function routes(document) {
	return Object.entries(document.paths).flatMap(([path, methods]) =>
		Object.entries(methods)
			.filter(([, about]) => about.operationId)
			.map(([method, about]) => ({
				path,
				method: method.toUpperCase(),
				about,
				tag: about.tags?.[0] || "other",
				text: `${method} ${path} ${about.summary || ""}`.toLowerCase()
			}))
	);
}

function route({path, method, about}, document, opened, draw) {
	const id = `${method} ${path}`;
	const toggle = event => {
		const changed = event.currentTarget.open !== opened.has(id);
		if (event.currentTarget.open) opened.add(id);
		else opened.delete(id);
		if (changed) draw();
	};
	return h(
		"details",
		{class: "route", key: id, on: {toggle}},
		h(
			"summary",
			{},
			chip(method, {GET: "good", POST: "warn", DELETE: "bad"}[method]),
			" ",
			h("code", {}, path),
			sub(about.summary)
		),
		opened.has(id) && details(about, document)
	);
}

function details(about, document) {
	const permission = about["x-permission"];
	const [kind, body] = Object.entries(about.requestBody?.content || {})[0] || [];
	const named = (about.parameters || []).map(each => `${each.name} (${each.in}${each.required ? ", required" : ""})`);
	const takes = permission ? `the permission ${permission} (${PERMISSIONS[permission] || permission})` : "no permission";
	const schema = body && JSON.stringify(resolved(body.schema, document), null, 1);
	return h(
		"div",
		{class: "form"},
		about.description && h("p", {}, about.description),
		muted(`Takes ${takes}.`),
		named.length ? h("p", {}, `Parameters: ${named.join(", ")}`) : null,
		body && [h("p", {}, `Body, ${kind}:`), h("pre", {class: "panel copyable-text", tabindex: "0"}, schema)]
	);
}

function resolved(schema, document, depth = 0) {
	if (Array.isArray(schema)) return schema.map(each => resolved(each, document, depth));
	if (!schema || typeof schema !== "object" || depth > 8) return schema;
	if (schema.$ref) return resolved(document.components.schemas[schema.$ref.split("/").pop()], document, depth + 1);
	return Object.fromEntries(Object.entries(schema).map(([name, each]) => [name, resolved(each, document, depth + 1)]));
}
