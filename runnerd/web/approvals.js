// What users ask the owner for; and for users, what they have asked for.
import {
	act,
	actionsOf,
	button,
	check,
	chip,
	choice,
	clock,
	column,
	empty,
	field,
	fill,
	get,
	h,
	input,
	listing,
	live,
	owns,
	path,
	post,
	section,
	short,
	sub,
	table,
	wide
} from "./ui.js";

// What a permission lets somebody do, in the daemon's words.
export const meaning = name => live.me?.permissions[name] || name;

// Permissions to be chosen, and those that are.
export const permissionChoice = (kind, had) =>
	h(
		kind,
		Object.entries(live.me.permissions).map(([name, meaning]) => check(meaning, {name, checked: had.includes(name)}))
	);
export const chosen = box => [...box.querySelectorAll("input:checked")].map(each => each.name);

export function approvals(place) {
	const view = listing(place, {
		title: "Approvals",
		read: () =>
			get("runnerd/approvals").catch(error => {
				if (error.status === 401) return error;
				throw error;
			}),
		after: ["approval", "all"],
		actions: () => [live.me?.kind === "user" && !owns() && button("Ask for something", () => ask(view.look), "primary")],
		content: found => {
			if (found instanceof Error) return empty("Requests to the owner are a user’s", found.message);
			const open = found.filter(each => each.state === "pending"),
				over = found.filter(each => each.state !== "pending");
			return [
				section(
					"Waiting for a decision",
					open.length
						? approvalTable(open, view.look)
						: empty("Nothing waits for a decision", "Users can ask for permissions, downloads, loads and unloads.")
				),
				over.length > 0 && section("Decided", approvalTable(over, view.look))
			];
		}
	});
	return view.end;
}

const approvalTable = (rows, look) =>
	table(
		"Requests to the owner",
		[
			wide("What", each => [
				h("span.name", what(each)),
				each.reason && sub(`“${each.reason}”`),
				each.failure && h("span.sub.bad-text", `The last try failed: ${each.failure}`)
			]),
			wide("Who", "user"),
			column("Asked", "created", clock),
			column("State", each => chip(each.working ? "being done" : each.state, {accepted: "good", rejected: "bad"}[each.state] || "warn")),
			wide("Decided by", each => (each.decided_by ? [each.decided_by, sub(clock(each.decided))] : "–")),
			actionsOf(each => (each.state === "pending" && owns() ? ["Accept", "Reject"].map(decision => decide(each, decision, look)) : []))
		],
		rows
	);

const decide = (each, decision, look) =>
	act(decision, each.id, () => post(`runnerd/approvals/${path(each.id)}/${decision.toLowerCase()}`).then(look), `${decision}ed`, {
		name: `${decision}: ${each.user}, ${what(each)}`,
		kind: decision === "Accept" ? "small primary" : "small",
		disabled: each.working
	});

function what(each) {
	const asked = each.request || {};
	if (each.type === "permissions") return `Permissions: ${(asked.may || []).join(", ")}`;
	const verb = {download: "Download", load: "Load", unload: "Unload"}[each.type] || each.type;
	return `${verb} ${short(asked.model)}${asked.revision ? ` (revision ${asked.revision})` : ""}`;
}

async function ask(look) {
	const kind = choice(
		Object.entries({download: "A download", load: "A load", unload: "An unload", permissions: "Permissions"}),
		"download"
	);
	const model = input({placeholder: "ai/smollm2 or hf.co/ORG/REPO:Q4_K_M"}),
		may = permissionChoice("div.form", live.me.may),
		reason = input({maxlength: 500}),
		models = field("Model", model),
		permissions = h("fieldset", h("legend", "Permissions, in the place of those you have"), may);
	const arrange = () => {
		permissions.hidden = kind.value !== "permissions";
		models.hidden = kind.value === "permissions";
	};
	kind.addEventListener("change", arrange);
	arrange();
	const send = () => {
		const wanted = kind.value === "permissions" ? {may: chosen(may)} : {model: model.value.trim()};
		return post("runnerd/approvals", {type: kind.value, reason: reason.value.trim(), ...wanted});
	};
	const fields = [field("What for", kind), models, permissions, field("Why", reason)];
	fill("Ask the owner", fields, "Ask", send, {done: "The owner is asked", look});
}
