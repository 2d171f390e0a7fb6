// The daemon's API, as /openapi.json describes it: every route with what it does and takes.
import {block, chip, empty, filter, get, h, listing, muted, section, sub} from "./ui.js";
import {meaning} from "./approvals.js";

export function reference(place) {
	let wanted = "";
	const opened = new Set(); // routes; only of these all is shown
	const search = filter("Filter routes", text => {
		wanted = text;
		view.draw();
	});
	const view = listing(place, {
		title: "API",
		read: () => get("openapi.json"),
		actions: () => [search],
		content: document => {
			const all = routes(document),
				shown = all.filter(each => each.text.includes(wanted));
			return [
				h("p.section", "As JSON: ", h("code", "/openapi.json"), `. ${shown.length} of ${all.length} routes.`),
				shown.length
					? [...new Set(shown.map(each => each.tag))].map(tag =>
							h(
								"div",
								{key: tag},
								section(
									tag.replaceAll("_", " "),
									shown.filter(each => each.tag === tag).map(each => route(each, document, opened, view.draw))
								)
							)
						)
					: empty("No route fits the filter")
			];
		}
	});
	return view.end;
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
		"details.route",
		{key: id, on: {toggle}},
		h("summary", chip(method, {GET: "good", POST: "warn", DELETE: "bad"}[method]), " ", h("code", path), sub(about.summary)),
		opened.has(id) && details(about, document)
	);
}

function details(about, document) {
	const permission = about["x-permission"];
	const [kind, body] = Object.entries(about.requestBody?.content || {})[0] || [];
	const named = (about.parameters || []).map(each => `${each.name} (${each.in}${each.required ? ", required" : ""})`);
	const takes = permission ? `the permission ${permission} (${meaning(permission)})` : "no permission";
	return h(
		"div.form",
		about.description && h("p", about.description),
		muted(`Takes ${takes}.`),
		named.length > 0 && h("p", `Parameters: ${named.join(", ")}`),
		body && [h("p", `Body, ${kind}:`), block(resolved(body.schema, document))]
	);
}

function resolved(schema, document, depth = 0) {
	if (Array.isArray(schema)) return schema.map(each => resolved(each, document, depth));
	if (!schema || typeof schema !== "object" || depth > 8) return schema;
	if (schema.$ref) return resolved(document.components.schemas[schema.$ref.split("/").pop()], document, depth + 1);
	return Object.fromEntries(Object.entries(schema).map(([name, each]) => [name, resolved(each, document, depth + 1)]));
}
