"""The native backend: plans as machine code, by LLVM through llvmlite (an extra; see ``engine``).

========  =========================================================================================
code      a writer of LLVM's text: vectors of one width, common subexpressions found as written
vmath     exp, log, sin, tanh … on vectors, branch-free
powers    xʸ, in twice the working precision inside
scalar    each elementwise function of the plan on vectors
shared    long elementwise functions as functions of their own, in programs with many
loops     fused loop nests: loads, functions, stores, sums and maxima
matmul    matrix products: small ones in registers, large ones by BLAS
layout    values of a plan as buffer, offset and strides; buffers that are reused
fusion    neighbouring nests under one outermost loop, strip by strip
assembly  buffers and nests under construction; indices, contraction: steps of these kinds
lowering  the other steps of a plan to loop nests and products
blocks    programs inside a program as items: loops over rounds, branches, parts
bodies    calls with a program inside to blocks
memory    temporaries in one piece that is used again; callback: kernels that NumPy runs
module    the text of all functions of a program
program   a plan as one native function
entry     the function that Python calls: checks of its arguments, fresh results
engine    compilation, the cache of compiled objects on disk, what the machine offers
========  =========================================================================================
"""
