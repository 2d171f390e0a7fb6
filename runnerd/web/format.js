// Quantities as people read them.

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

export function bytes(count) {
	if ((count ?? null) === null) return "–";
	let size = Number(count),
		unit = 0;
	while (size >= 1023.95 && unit < UNITS.length - 1) {
		size /= 1024;
		unit += 1;
	}
	return `${unit === 0 || size >= 100 ? Math.round(size) : size.toFixed(1)} ${UNITS[unit]}`;
}

export const number = value => ((value ?? null) === null ? "–" : Number(value).toLocaleString("en"));

export function seconds(value) {
	if ((value ?? null) === null) return "–";
	if (value < 0.0995) return `${Math.round(value * 1000)} ms`;
	if (value < 60) return `${value.toFixed(value < 9.95 ? 2 : 1)} s`;
	if (value < 3600) return `${Math.floor(value / 60)} min ${Math.round(value % 60)} s`;
	if (value < 172800) return `${Math.floor(value / 3600)} h ${Math.round((value % 3600) / 60)} min`;
	return `${Math.round(value / 86400)} d`;
}

const moment = when => (typeof when === "number" ? new Date(when * 1000) : new Date(when));

export function clock(when) {
	const time = moment(when);
	if (Number.isNaN(time.getTime())) return "–";
	const today = new Date().toDateString() === time.toDateString();
	const hours = time.toLocaleTimeString("en-GB");
	return today ? hours : `${date(when)} ${hours.slice(0, 5)}`;
}

export function date(when) {
	const time = moment(when);
	if ((when ?? null) === null || Number.isNaN(time.getTime())) return "–";
	const two = part => String(part).padStart(2, "0");
	return `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())}`;
}

// "in 4 min 10 s", "never"
export function until(when) {
	if (!when) return "never";
	const left = (moment(when) - Date.now()) / 1000;
	return left <= 0 ? "now" : `in ${seconds(left)}`;
}

// A name as people type it.
export const short = name =>
	String(name ?? "")
		.replace(/^ai\//, "")
		.replace(/:latest$/, "");

export const plural = (count, one, many = `${one}s`) => `${number(count)} ${count === 1 ? one : many}`;
