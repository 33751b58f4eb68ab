package sandbox

import (
	"context"
	"errors"
	"fmt"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
)

// pages is the most that the module's memory may have, in pages of 64 KiB. It
// begins with 256 MiB, and may grow to what encoding the largest images takes;
// what a job may touch of it is another matter, see memoryOf.
const pages = 8192

// module is an instance of the codecs.
type module struct {
	runtime wazero.Runtime
	code    wazero.CompiledModule
	memory  *memory
	api     api.Module
	context uint64 // CodecsContext of the job
	stack   uint64 // pointer of the fresh instance
}

// errCodec is thrown into the codecs when they report an exception: it unwinds
// them to the call.
var errCodec = errors.New("the codec refuses the stream")

// errExit is thrown when they abort.
var errExit = errors.New("the codec gave up")

// compile makes the module ready, or loads what was compiled.
func compile(ctx context.Context, wasm []byte, cache wazero.CompilationCache) (*module, error) {
	conf := wazero.NewRuntimeConfigCompiler().WithMemoryLimitPages(pages).WithDebugInfoEnabled(false)
	if cache != nil {
		conf = conf.WithCompilationCache(cache)
	}
	m := &module{runtime: wazero.NewRuntimeWithConfig(ctx, conf)}
	if err := imports(ctx, m.runtime); err != nil {
		return nil, err
	}
	var err error
	if m.code, err = m.runtime.CompileModule(ctx, wasm); err != nil {
		return nil, errors.Join(err, m.runtime.Close(ctx))
	}
	return m, nil
}

// imports are all that the module can reach: nothing. It has no files and no
// environment; what it says is dropped. The clock counts how often it is asked:
// the module asks it many times when it starts.
func imports(ctx context.Context, r wazero.Runtime) error {
	ignore := func(uint32, uint32) {}
	_, err := r.NewHostModuleBuilder("env").
		NewFunctionBuilder().WithFunc(func(uint32, uint32) { panic(errCodec) }).Export("onCodecsException").
		NewFunctionBuilder().WithFunc(ignore).Export("onCodecsInfo").
		NewFunctionBuilder().WithFunc(ignore).Export("onCodecsTrace").
		NewFunctionBuilder().WithFunc(func(uint32) {}).Export("emscripten_notify_memory_growth").
		Instantiate(ctx)
	if err != nil {
		return err
	}
	const badFile = 8
	const tick = 1e6 // ns
	now := uint64(0)
	zero := func(m api.Module, at ...uint32) uint32 {
		for _, a := range at {
			m.Memory().WriteUint32Le(a, 0)
		}
		return 0
	}
	_, err = r.NewHostModuleBuilder("wasi_snapshot_preview1").
		NewFunctionBuilder().WithFunc(func(uint32) { panic(errExit) }).Export("proc_exit").
		NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(func(_ context.Context, m api.Module, stack []uint64) {
		now += tick
		m.Memory().WriteUint64Le(uint32(stack[2]), now)
		stack[0] = 0
	}), []api.ValueType{api.ValueTypeI32, api.ValueTypeI64, api.ValueTypeI32}, []api.ValueType{api.ValueTypeI32}).Export("clock_time_get").
		NewFunctionBuilder().WithFunc(func(_ context.Context, m api.Module, count, size uint32) uint32 { return zero(m, count, size) }).Export("environ_sizes_get").
		NewFunctionBuilder().WithFunc(func(uint32, uint32) uint32 { return 0 }).Export("environ_get").
		NewFunctionBuilder().WithFunc(func(uint32, uint32, uint32, uint32) uint32 { return badFile }).Export("fd_write").
		NewFunctionBuilder().WithFunc(func(uint32, uint64, uint32, uint32) uint32 { return badFile }).Export("fd_seek").
		NewFunctionBuilder().WithFunc(func(uint32) uint32 { return badFile }).Export("fd_close").
		Instantiate(ctx)
	return err
}

// start makes the instance.
func (m *module) start(ctx context.Context) error {
	var err error
	ctx = experimental.WithMemoryAllocator(ctx, experimental.MemoryAllocatorFunc(func(uint64, uint64) experimental.LinearMemory {
		m.memory, err = newMemory(pages << 16)
		if err != nil {
			panic(err)
		}
		return m.memory
	}))
	m.api, err = m.runtime.InstantiateModule(ctx, m.code, wazero.NewModuleConfig().WithName("").WithStartFunctions("_initialize"))
	if err != nil {
		return fmt.Errorf("starting the codecs: %w", err)
	}
	if m.stack, err = m.call(ctx, "emscripten_stack_get_current"); err != nil {
		return err
	}
	return m.memory.keep()
}

// reset makes the instance as start left it: the memory whole, and the stack
// pointer, which is the module's only global. Whatever a job did, the next one
// sees nothing of it.
func (m *module) reset(ctx context.Context) error {
	if err := m.memory.restore(); err != nil {
		return err
	}
	_, err := m.call(ctx, "_emscripten_stack_restore", m.stack)
	return err
}

// call calls a function of the module.
func (m *module) call(ctx context.Context, name string, args ...uint64) (uint64, error) {
	res, err := m.api.ExportedFunction(name).Call(ctx, args...)
	if err != nil || len(res) == 0 {
		return 0, err
	}
	return res[0], nil
}

// view returns n bytes of the module's memory.
func (m *module) view(at, n uint64) ([]byte, bool) {
	if at > pages<<16 || n > pages<<16 { // so that they are 32 bits
		return nil, false
	}
	return m.api.Memory().Read(uint32(at), uint32(n))
}
