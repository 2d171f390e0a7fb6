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
											shown.filter(each => each.tag === tag).map(each => route(each, found))
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

function route({path, method, about}, document) {
	const permission = about["x-permission"];
	const body = Object.entries(about.requestBody?.content || {})[0];
	return h(
		"details",
		{class: "route", key: method + path},
		h(
			"summary",
			{},
			chip(method, {GET: "good", POST: "warn", DELETE: "bad"}[method]),
			" ",
			h("code", {}, path),
			sub(about.summary)
		),
		h(
			"div",
			{class: "form"},
			about.description && h("p", {}, about.description),
			muted(
				permission
					? `Takes the permission ${permission} (${PERMISSIONS[permission] || permission}).`
					: "Takes no permission."
			),
			(about.parameters || []).length
				? h(
						"p",
						{},
						"Parameters: ",
						about.parameters.map((each, at) => [
							at ? ", " : "",
							h("code", {}, each.name),
							` (${each.in}${each.required ? ", required" : ""})`
						])
					)
				: null,
			body && [
				h("p", {}, `Body, ${body[0]}:`),
				h(
					"pre",
					{class: "panel copyable-text", tabindex: "0"},
					JSON.stringify(resolved(body[1].schema, document), null, 1)
				)
			]
		)
	);
}

function resolved(schema, document, depth = 0) {
	if (Array.isArray(schema)) return schema.map(each => resolved(each, document, depth));
	if (!schema || typeof schema !== "object" || depth > 8) return schema;
	if (schema.$ref) return resolved(document.components.schemas[schema.$ref.split("/").pop()], document, depth + 1);
	return Object.fromEntries(Object.entries(schema).map(([name, each]) => [name, resolved(each, document, depth + 1)]));
}
