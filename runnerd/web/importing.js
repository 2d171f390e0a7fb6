// Models that lie on the host's disk: which there are in a folder, and taking them in.
import {
	act,
	actionsOf,
	amount,
	button,
	bytes,
	check,
	field,
	fold,
	form,
	get,
	h,
	input,
	line,
	lines,
	muted,
	open,
	owns,
	progress,
	short,
	source,
	sub,
	table,
	tell,
	trouble,
	wide
} from "./ui.js";

// By file, what is taken in now: it goes on while other views are looked at.
const taking = new Map();

export function importing(draw) {
	const where = input({placeholder: "/srv/models or /srv/models/some.gguf", maxlength: 4000}),
		name = input({placeholder: "after its file", maxlength: 300}),
		borrow = check("Use the files where they lie: nothing is copied, and they must stay there");
	const now = source(
		async () => (where.value.trim() ? get(`runnerd/files?${new URLSearchParams({path: where.value.trim()})}`) : null),
		draw
	);

	async function take({file, mmproj, size_bytes: total}) {
		const control = new AbortController(),
			layers = {},
			asked = {path: file, borrow: borrow.firstChild.checked, mmproj: mmproj || undefined};
		const state = {current: 0, total, control};
		if (now.found.length === 1) asked.tag = name.value.trim() || undefined;
		taking.set(file, state);
		draw();
		try {
			for await (const line of lines(await open("POST", `models/import`, asked, {signal: control.signal}))) {
				const {type, message, layer, model} = JSON.parse(line);
				if (type === "error") throw new Error(message);
				if (type === "success") tell(`${short(model.tags[0])}: ${message}`, "good");
				layers[layer.id] = layer.current;
				state.current = Object.values(layers).reduce((sum, each) => sum + each);
				draw();
			}
		} finally {
			taking.delete(file);
			draw();
		}
	}

	const found = () =>
		table(
			"Models in the folder",
			[
				wide("Model", each => [h("span.name", each.model), sub(each.file)]),
				amount("Size", "size_bytes", bytes),
				actionsOf(each => [act("Import", each.model, () => take(each), undefined, {disabled: taking.has(each.file)})])
			],
			now.found,
			each => each.file
		);

	return () =>
		owns() && [
			fold(
				"From this host’s disk",
				h(
					"div.form",
					line(now.look, "Look", field("File or folder", where)),
					now.error && [
						trouble(now.error),
						now.error.status === 403 && muted("It takes the page that runnerd ui opens, as root or as the daemon’s user.")
					],
					!now.error && now.found && [now.found.length === 1 && field("Call it", name), borrow, found()]
				)
			),
			[...taking].map(([file, state]) =>
				progress(
					file,
					file,
					`import, ${bytes(state.current)} of ${bytes(state.total)}`,
					state,
					button("Cancel", () => state.control.abort(), {kind: "small", name: `Cancel the import of ${file}`})
				)
			)
		];
}
