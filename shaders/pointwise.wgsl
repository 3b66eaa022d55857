// The frame around a look: bindings, look-ups, and the loop over pixels. The look itself follows as `lm_look`, traced from the
// same formulas that run on the processor. All names here begin with lm_.

struct LmFrame {
    // Of the picture.
    width: f32,
    height: f32,
    // A whole number made of the source's contents, below 2^22.
    key: f32,
    // How much of the look is mixed in, 0..1.
    strength: f32,
    // Pixels per row, the number of the first row in the picture, pixels in this call and before it.
    row: u32,
    top: u32,
    count: u32,
    start: u32,
}

// Planes of red, green and blue, `count` values each; encoded sRGB, not limited to 0..1.
@group(0) @binding(0) var<storage, read_write> lm_pixels: array<f32>;
@group(0) @binding(1) var<uniform> lm_frame: LmFrame;
// All curves' samples, one after the other; all cubes' colours, red fastest, then green.
@group(0) @binding(2) var<storage, read> lm_tables: array<f32>;
@group(0) @binding(3) var<storage, read> lm_cubes: array<vec4<f32>>;

// 2^x by the polynomial of lane.rs: what drivers have may be too coarse for colours beyond the usual range.
fn lm_exp2(x: f32) -> f32 {
    let p = clamp(x, -126.0, 126.0);
    let whole = round(p);
    let f = p - whole;
    let series = 1.3333558e-3 + f * 1.540353e-4;
    let fraction = 1.0 + f * (0.6931472 + f * (0.2402265 + f * (0.05550411 + f * (9.618129e-3 + f * series))));
    return bitcast<f32>((i32(whole) + 127) << 23u) * fraction;
}

// log2(x) of positive normal numbers, as in lane.rs.
fn lm_log2(x: f32) -> f32 {
    let bits = bitcast<i32>(x);
    let e = (bits - 0x3f3504f3) >> 23u;
    let m = bitcast<f32>(bits - (e << 23u));
    let t = (m - 1.0) / (m + 1.0);
    let t2 = t * t;
    return f32(e) + t * (2.8853901 + t2 * (0.9617967 + t2 * (0.577078 + t2 * (0.4121986 + t2 * 0.3205989))));
}

// A curve of samples start..=start + last, linear between them.
fn lm_table(x: f32, start: u32, last: u32, low: f32, scale: f32) -> f32 {
    let p = clamp((x - low) * scale, 0.0, f32(last));
    let whole = min(u32(p), last - 1u);
    let a = lm_tables[start + whole];
    let b = lm_tables[start + whole + 1u];
    return a + (b - a) * (p - f32(whole));
}

// A colour cube, tetrahedral: from the cell's black corner to its white one along the edges, the largest fraction first.
fn lm_cube(c: vec3<f32>, start: u32, size: u32, low: vec3<f32>, scale: vec3<f32>) -> vec3<f32> {
    let p = clamp((c - low) * scale, vec3<f32>(0.0), vec3<f32>(f32(size - 1u)));
    let cell = min(vec3<u32>(p), vec3<u32>(size - 2u));
    let f = p - vec3<f32>(cell);
    let green = size;
    let blue = size * size;
    let all = 1u + green + blue;
    let base = start + cell.x + cell.y * green + cell.z * blue;
    let high = max(max(f.x, f.y), f.z);
    let bottom = min(min(f.x, f.y), f.z);
    let middle = max(min(f.x, f.y), min(max(f.x, f.y), f.z));
    let first = select(select(blue, green, f.y >= high), 1u, f.x >= high);
    let last = select(select(1u, green, f.y <= bottom), blue, f.z <= bottom);
    return lm_cubes[base].xyz * (1.0 - high)
        + lm_cubes[base + first].xyz * (high - middle)
        + lm_cubes[base + all - last].xyz * (middle - bottom)
        + lm_cubes[base + all].xyz * bottom;
}

// About normal, mean 0, variance 1: the sum of the four bytes of a hash (lowbias32, C. Wellons 2018).
fn lm_random(x: f32, y: f32, key: f32) -> f32 {
    var h = (u32(x) * 0x9e3779b1u) ^ (u32(y) * 0x85ebca77u) ^ (u32(key) * 0xc2b2ae3du);
    h = (h ^ (h >> 16u)) * 0x7feb352du;
    h = (h ^ (h >> 15u)) * 0x846ca68bu;
    h = h ^ (h >> 16u);
    let sum = (h & 255u) + ((h >> 8u) & 255u) + ((h >> 16u) & 255u) + (h >> 24u);
    return (f32(sum) - 510.0) * (1.0 / 147.8);
}

@compute @workgroup_size(256)
fn lm_main(@builtin(global_invocation_id) id: vec3<u32>) {
    let i = id.x;
    let n = lm_frame.count;
    if i >= n {
        return;
    }
    let c = vec3<f32>(lm_pixels[i], lm_pixels[n + i], lm_pixels[2u * n + i]);
    let pixel = lm_frame.start + i;
    let at = vec2<f32>(f32(pixel % lm_frame.row), f32(lm_frame.top + pixel / lm_frame.row));
    let done = lm_look(c, at);
    let mixed = c + (done - c) * lm_frame.strength;
    lm_pixels[i] = mixed.x;
    lm_pixels[n + i] = mixed.y;
    lm_pixels[2u * n + i] = mixed.z;
}
