// Functions of one number, to double precision, the same to the last bit in every browser.

const HALVES = powersOfHalf(1023);

function powersOfHalf(count) {
  const found = new Float64Array(count);
  found[0] = 1;
  for (let n = 1; n < count; n += 1) found[n] = found[n - 1] / 2;
  return found;
}

// e^x for x <= 0, within two units in the last place; 0 where that would be subnormal. As the
// Python engine has it: Cephes' ratio of polynomials.
export function expOf(x) {
  if (x < -708) return 0;
  const n = Math.floor(x * 1.4426950408889634 + 0.5);
  let r = x - n * 6.93145751953125e-1;
  r -= n * 1.42860682030941723212e-6;
  const square = r * r;
  let top = 1.26177193074810590878e-4;
  top = top * square + 3.02994407707441961300e-2;
  top = (top * square + 1) * r;
  let bottom = 3.00198505138664455042e-6;
  bottom = bottom * square + 2.52448340349684104192e-3;
  bottom = bottom * square + 2.27265548208155028766e-1;
  bottom = bottom * square + 2;
  return (1 + 2 * (top / (bottom - top))) * HALVES[-n];
}

// The error function, within one unit in the last place. Ranges and coefficients of fdlibm:
// Copyright (C) 1993 by Sun Microsystems, Inc. All rights reserved. Developed at SunPro, a Sun
// Microsystems, Inc. business. Permission to use, copy, modify, and distribute this software is
// freely granted, provided that this notice is preserved.
export function erf(x) {
  const size = Math.abs(x);
  if (size < 0.84375) return x + x * nearZero(x * x);
  if (size >= 6) return Math.sign(x);
  const found = size < 1.25 ? nearOne(size - 1) : 1 - tail(size);
  return x < 0 ? -found : found;
}

function nearZero(z) {
  let top = -2.37630166566501626084e-5;
  top = top * z - 5.77027029648944159157e-3;
  top = top * z - 2.84817495755985104766e-2;
  top = top * z - 3.25042107247001499370e-1;
  top = top * z + 1.28379167095512558561e-1;
  let bottom = -3.96022827877536812320e-6;
  bottom = bottom * z + 1.32494738004321644526e-4;
  bottom = bottom * z + 5.08130628187576562776e-3;
  bottom = bottom * z + 6.50222499887672944485e-2;
  bottom = bottom * z + 3.97917223959155352819e-1;
  return top / (bottom * z + 1);
}

function nearOne(s) {
  let top = -2.16637559486879084300e-3;
  top = top * s + 3.54783043256182359371e-2;
  top = top * s - 1.10894694282396677476e-1;
  top = top * s + 3.18346619901161753674e-1;
  top = top * s - 3.72207876035701323847e-1;
  top = top * s + 4.14856118683748331666e-1;
  top = top * s - 2.36211856075265944077e-3;
  let bottom = 1.19844998467991074170e-2;
  bottom = bottom * s + 1.36370839120290507362e-2;
  bottom = bottom * s + 1.26171219808761642112e-1;
  bottom = bottom * s + 7.18286544141962662868e-2;
  bottom = bottom * s + 5.40397917702171048937e-1;
  bottom = bottom * s + 1.06420880400844228286e-1;
  return 8.45062911510467529297e-1 + top / (bottom * s + 1);
}

// 1 - erf(x) for 1.25 <= x < 6.
function tail(x) {
  const s = 1 / (x * x);
  const ratio = x < 1 / 0.35 ? tailRatio(s) : farRatio(s);
  // What single precision holds of x squares without an error.
  const z = Math.fround(x);
  return (expOf(-z * z - 0.5625) * expOf((z - x) * (z + x) + ratio)) / x;
}

function tailRatio(s) {
  let top = -9.81432934416914548592;
  top = top * s - 8.12874355063065934246e1;
  top = top * s - 1.84605092906711035994e2;
  top = top * s - 1.62396669462573470355e2;
  top = top * s - 6.23753324503260060396e1;
  top = top * s - 1.05586262253232909814e1;
  top = top * s - 6.93858572707181764372e-1;
  top = top * s - 9.86494403484714822705e-3;
  let bottom = -6.04244152148580987438e-2;
  bottom = bottom * s + 6.57024977031928170135;
  bottom = bottom * s + 1.08635005541779435134e2;
  bottom = bottom * s + 4.29008140027567833386e2;
  bottom = bottom * s + 6.45387271733267880336e2;
  bottom = bottom * s + 4.34565877475229228821e2;
  bottom = bottom * s + 1.37657754143519042600e2;
  bottom = bottom * s + 1.96512716674392571292e1;
  return top / (bottom * s + 1);
}

function farRatio(s) {
  let top = -4.83519191608651397019e2;
  top = top * s - 1.02509513161107724954e3;
  top = top * s - 6.37566443368389627722e2;
  top = top * s - 1.60636384855821916062e2;
  top = top * s - 1.77579549177547519889e1;
  top = top * s - 7.99283237680523006574e-1;
  top = top * s - 9.86494292470009928597e-3;
  let bottom = -2.24409524465858183362e1;
  bottom = bottom * s + 4.74528541206955367215e2;
  bottom = bottom * s + 2.55305040643316442583e3;
  bottom = bottom * s + 3.19985821950859553908e3;
  bottom = bottom * s + 1.53672958608443695994e3;
  bottom = bottom * s + 3.25792512996573918826e2;
  bottom = bottom * s + 3.03380607434824582924e1;
  return top / (bottom * s + 1);
}

// x Phi(x), exact, by erf.
export function gelu(x) {
  return 0.5 * x * (1 + erf(x * Math.SQRT1_2));
}

// log of the sum of e^x over some of the entries of a list.
export function logSumExp(values, places) {
  let highest = -Infinity;
  for (const place of places) highest = Math.max(highest, values[place]);
  if (highest === -Infinity) return highest;
  let sum = 0;
  for (const place of places) sum += expOf(values[place] - highest);
  return highest + Math.log(sum);
}
