# libtorch out of the PyPI wheel, CPU part only: target torch_wheel.
#
# find_package(Torch) demands a CUDA toolkit whenever the wheel was built with one; Pare needs libtorch_cpu and libc10,
# which in turn load libcudart and libcupti from the two small NVIDIA wheels beside it.
# Looks in PARE_TORCH_ROOT, a folder that holds torch/ and nvidia/ (setup puts them there).

find_path(TORCH_INCLUDE_DIR ATen/ATen.h HINTS ${PARE_TORCH_ROOT}/torch/include NO_DEFAULT_PATH)
find_library(TORCH_CPU_LIBRARY torch_cpu HINTS ${PARE_TORCH_ROOT}/torch/lib NO_DEFAULT_PATH)
find_library(C10_LIBRARY c10 HINTS ${PARE_TORCH_ROOT}/torch/lib NO_DEFAULT_PATH)
file(GLOB TORCH_NVIDIA_LIB_DIRS ${PARE_TORCH_ROOT}/nvidia/*/lib)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(TorchWheel REQUIRED_VARS TORCH_INCLUDE_DIR TORCH_CPU_LIBRARY C10_LIBRARY
  REASON_FAILURE_MESSAGE "no torch wheel under ${PARE_TORCH_ROOT}: run `make setup`, or configure with -DPARE_TORCH=OFF for the parts that need no torch")

if(TorchWheel_FOUND AND NOT TARGET torch_wheel)
  add_library(torch_wheel INTERFACE)
  target_include_directories(torch_wheel SYSTEM INTERFACE ${TORCH_INCLUDE_DIR} ${TORCH_INCLUDE_DIR}/torch/csrc/api/include)
  get_filename_component(torch_lib_dir ${TORCH_CPU_LIBRARY} DIRECTORY)
  set(link_dirs "")
  foreach(dir ${TORCH_NVIDIA_LIB_DIRS})
    list(APPEND link_dirs "-Wl,-rpath-link,${dir}")
  endforeach()
  # --disable-new-dtags: the loader follows RPATH, not RUNPATH, for the libraries of libraries (libcudart, libcupti)
  target_link_libraries(torch_wheel INTERFACE ${TORCH_CPU_LIBRARY} ${C10_LIBRARY})
  # ATen's parallel_for is a header: without -fopenmp it runs on one thread. libgomp.so.1 is torch's own at run time.
  target_compile_options(torch_wheel INTERFACE -fopenmp)
  target_link_options(torch_wheel INTERFACE -fopenmp "-Wl,-rpath,${torch_lib_dir}" "-Wl,--disable-new-dtags" ${link_dirs})
endif()
