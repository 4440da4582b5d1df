//! Two samples: do they come from one distribution?

/// What two tests say of two samples.
pub struct Comparison {
    /// How likely one of the second is larger than one of the first (the area under the ROC curve): 0.5 when neither
    /// tends to be.
    pub slower: f64,
    /// Half of its 95 % confidence interval (Radiology 143, 1982, pages 29 to 36).
    pub margin: f64,
    /// Mann–Whitney: how likely ranks as far apart are by chance.
    pub rank_p: f64,
    /// Kolmogorov–Smirnov: how likely distributions as far apart are by chance.
    pub shape_p: f64,
}

/// Compares two samples. Ties are so rare among nanoseconds that none is corrected for.
pub fn compare(one: &[f64], other: &[f64]) -> Comparison {
    let mut all: Vec<(f64, bool)> = one.iter().map(|x| (*x, false)).chain(other.iter().map(|x| (*x, true))).collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (n, m) = (one.len() as f64, other.len() as f64);
    let (mut below, mut u, mut distance) = (0.0, 0.0, 0.0_f64);
    let (mut seen_one, mut seen_other) = (0.0, 0.0);
    for (_, of_other) in all {
        if of_other {
            u += below;
            seen_other += 1.0;
        } else {
            below += 1.0;
            seen_one += 1.0;
        }
        distance = distance.max((seen_one / n - seen_other / m).abs());
    }
    let slower = u / (n * m);
    let z = (u - n * m / 2.0) / (n * m * (n + m + 1.0) / 12.0).sqrt();
    let (q1, q2) = (slower / (2.0 - slower), 2.0 * slower * slower / (1.0 + slower));
    let spread = slower * (1.0 - slower) + (m - 1.0) * (q1 - slower * slower) + (n - 1.0) * (q2 - slower * slower);
    Comparison {
        slower,
        margin: 1.96 * (spread.max(0.0) / (n * m)).sqrt(),
        rank_p: erfc(z.abs() / std::f64::consts::SQRT_2),
        shape_p: kolmogorov(distance, (n * m / (n + m)).sqrt()),
    }
}

/// The least difference of those tried that would have been told apart: the same sample, that much slower.
pub fn least_seen(sample: &[f64], limit: f64) -> Option<f64> {
    let median = quantile(sample, 0.5);
    let shifts = [0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.3, 0.5].map(|share| share * median);
    shifts.into_iter().find(|shift| {
        let slower: Vec<f64> = sample.iter().map(|time| time + shift).collect();
        let comparison = compare(sample, &slower);
        comparison.rank_p < limit || comparison.shape_p < limit
    })
}

/// The value below which this share of a sample is.
pub fn quantile(sample: &[f64], share: f64) -> f64 {
    let mut sorted = sample.to_vec();
    sorted.sort_by(f64::total_cmp);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index of the sample")]
    let index = (share * (sorted.len() - 1) as f64).round() as usize;
    sorted[index]
}

/// The complementary error function, to 1.2 × 10⁻⁷ of its value (Numerical Recipes, `erfcc`), of what isn't negative.
fn erfc(x: f64) -> f64 {
    const TERMS: [f64; 10] = [
        -1.265_512_23,
        1.000_023_68,
        0.374_091_96,
        0.096_784_18,
        -0.186_288_06,
        0.278_868_07,
        -1.135_203_98,
        1.488_515_87,
        -0.822_152_23,
        0.170_872_77,
    ];
    let t = 1.0 / (1.0 + 0.5 * x);
    let exponent = TERMS.iter().rev().fold(0.0_f64, |sum, term| sum.mul_add(t, *term));
    t * (exponent - x * x).exp()
}

/// The tail of Kolmogorov's distribution, with Stephens's correction for samples of a finite size.
fn kolmogorov(distance: f64, size: f64) -> f64 {
    let lambda = (size + 0.12 + 0.11 / size) * distance;
    if lambda < 0.2 {
        return 1.0;
    }
    let term = |k: f64| (if k % 2.0 == 0.0 { -2.0 } else { 2.0 }) * (-2.0 * k * k * lambda * lambda).exp();
    (1..=100).map(|k| term(f64::from(k))).sum::<f64>().clamp(0.0, 1.0)
}
