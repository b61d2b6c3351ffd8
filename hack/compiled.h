/* Inline caches for compiled code: what CPython's own specialised instructions (PEP 659) do for interpreted code.
 *
 * mypyc asks the interpreter anew at every use of an attribute, method or global whose type it does not know natively:
 * some 160 instructions each, 600 times per request. Here each place in the code remembers what it found last, and the
 * version of the type or dict that it found it in; both get a new version, unique in the process, whenever they change.
 *
 * `hack/compile` includes this in the C that mypyc makes, and puts these names where the names looked up are constants.
 * Other Pythons than 3.11, whose versions are not laid out like this, get the calls that mypyc made.
 */
#include <structmember.h>

#if PY_VERSION_HEX >= 0x030B0000 && PY_VERSION_HEX < 0x030C0000

/* No type has this version: the counter stops before it. */
#define INLINE_NONE 0xffffffffu

typedef struct {
    uint64_t version; /* of the dict */
    PyObject *value;  /* borrowed: the dict keeps it as long as it has this version */
} InlineGlobal;

static CPy_NOINLINE PyObject *Inline_FindGlobal(PyObject *globals, PyObject *name, InlineGlobal *cache) {
    PyObject *value = CPyDict_GetItem(globals, name);
    if (value != NULL) {
        cache->version = ((PyDictObject *)globals)->ma_version_tag;
        cache->value = value;
    }
    return value;
}

static inline PyObject *Inline_Global(PyObject *globals, PyObject *name, InlineGlobal *cache) {
    if (likely(((PyDictObject *)globals)->ma_version_tag == cache->version)) return Py_NewRef(cache->value);
    return Inline_FindGlobal(globals, name, cache);
}

#define Inline_GetGlobal(globals, name) ({ static InlineGlobal cache; Inline_Global((globals), (name), &cache); })

static PyObject *Inline_FromModule(PyObject *module, PyObject *name, InlineGlobal *cache) {
    PyObject *globals = PyModule_GetDict(module);
    if (likely(((PyDictObject *)globals)->ma_version_tag == cache->version)) return Py_NewRef(cache->value);
    if (PyDict_Contains(globals, name) > 0) return Inline_FindGlobal(globals, name, cache);
    return PyObject_GetAttr(module, name);
}

typedef struct {
    unsigned int version;       /* of the object's type */
    Py_ssize_t offset;          /* of the slot in the object */
    struct PyGetSetDef *getter; /* instead, if there is one: so the attributes of compiled classes are read */
    InlineGlobal global;        /* if the object is a module */
} InlineSlot;

/* The descriptor that `name` is in the type of `obj`, if what the type says goes before what the object has; borrowed. */
static PyObject *Inline_Descriptor(PyObject *obj, PyObject *name) {
    PyTypeObject *type = Py_TYPE(obj);
    if (type->tp_getattro != PyObject_GenericGetAttr) return NULL;
    PyObject *found = _PyType_Lookup(type, name);
    return PyType_HasFeature(type, Py_TPFLAGS_VALID_VERSION_TAG) ? found : NULL;
}

static CPy_NOINLINE PyObject *Inline_FindSlot(PyObject *obj, PyObject *name, InlineSlot *cache) {
    if (PyModule_CheckExact(obj)) return Inline_FromModule(obj, name, &cache->global);
    PyObject *found = Inline_Descriptor(obj, name);
    if (found != NULL && Py_IS_TYPE(found, &PyMemberDescr_Type)) {
        struct PyMemberDef *member = ((PyMemberDescrObject *)found)->d_member;
        if (member->type == T_OBJECT_EX && !(member->flags & READ_RESTRICTED)) {
            cache->version = Py_TYPE(obj)->tp_version_tag;
            cache->offset = member->offset;
            cache->getter = NULL;
        }
    } else if (found != NULL && Py_IS_TYPE(found, &PyGetSetDescr_Type)) {
        struct PyGetSetDef *getter = ((PyGetSetDescrObject *)found)->d_getset;
        if (getter->get != NULL) {
            cache->version = Py_TYPE(obj)->tp_version_tag;
            cache->getter = getter;
        }
    }
    return PyObject_GetAttr(obj, name);
}

static inline PyObject *Inline_Slot(PyObject *obj, PyObject *name, InlineSlot *cache) {
    if (likely(Py_TYPE(obj)->tp_version_tag == cache->version)) {
        if (cache->getter != NULL) return cache->getter->get(obj, cache->getter->closure);
        PyObject *value = *(PyObject **)((char *)obj + cache->offset);
        if (likely(value != NULL)) return Py_NewRef(value);
    }
    return Inline_FindSlot(obj, name, cache);
}

#define Inline_GetAttr(obj, name) ({ static InlineSlot cache = {INLINE_NONE}; Inline_Slot((obj), (name), &cache); })

/* Whether assignments to a slot of `type` do nothing else than what `Inline_SetSlot` does. */
static int Inline_IsPlain(PyTypeObject *type) {
    return type->tp_setattro == PyObject_GenericSetAttr || strcmp(Py_TYPE(type)->tp_name, "msgspec._core.StructMeta") == 0;
}

static CPy_NOINLINE int Inline_FindSlotToSet(PyObject *obj, PyObject *name, PyObject *value, InlineSlot *cache) {
    PyObject *found = Inline_Descriptor(obj, name);
    if (PyObject_SetAttr(obj, name, value) < 0) return -1; /* frozen, for one */
    if (found != NULL && Py_IS_TYPE(found, &PyMemberDescr_Type) && Inline_IsPlain(Py_TYPE(obj))) {
        struct PyMemberDef *member = ((PyMemberDescrObject *)found)->d_member;
        if (member->type == T_OBJECT_EX) {
            cache->version = Py_TYPE(obj)->tp_version_tag;
            cache->offset = member->offset;
        }
    }
    return 0;
}

static inline int Inline_SetSlot(PyObject *obj, PyObject *name, PyObject *value, InlineSlot *cache) {
    if (unlikely(Py_TYPE(obj)->tp_version_tag != cache->version)) return Inline_FindSlotToSet(obj, name, value, cache);
    PyObject **slot = (PyObject **)((char *)obj + cache->offset), *before = *slot;
    *slot = Py_NewRef(value);
    Py_XDECREF(before);
    /* msgspec's structs are the garbage collector's only once they hold something that is. */
    if (PyObject_IS_GC(value) && PyObject_IS_GC(obj) && !PyObject_GC_IsTracked(obj)) PyObject_GC_Track(obj);
    return 0;
}

#define Inline_SetAttr(obj, name, value) \
    ({ static InlineSlot cache = {INLINE_NONE}; Inline_SetSlot((obj), (name), (value), &cache); })

typedef struct {
    unsigned int version; /* of the object's type */
    int without;          /* the object: a static method does not take it */
    Py_ssize_t dict;      /* of the object, which must be empty for the type's method to be its own; 0: it has none */
    Py_ssize_t slot;      /* of the object, that holds what is called; 0: the type does */
    PyObject *method;     /* borrowed: the type keeps it as long as it has this version */
    InlineGlobal global;  /* if the object is a module */
} InlineMethod;

static inline int Inline_HasOwn(PyObject *obj, Py_ssize_t dict) {
    return dict != 0 && *(PyObject **)((char *)obj + dict) != NULL;
}

static CPy_NOINLINE PyObject *Inline_FindMethod(
    PyObject *name, PyObject *const *args, size_t count, PyObject *keywords, InlineMethod *cache) {
    if (PyModule_CheckExact(args[0])) {
        PyObject *function = Inline_FromModule(args[0], name, &cache->global);
        if (function == NULL) return NULL;
        PyObject *result = PyObject_Vectorcall(function, args + 1, count - 1, keywords);
        Py_DECREF(function);
        return result;
    }
    PyTypeObject *type = Py_TYPE(args[0]);
    PyObject *found = Inline_Descriptor(args[0], name);
    if (found != NULL && type->tp_dictoffset >= 0) {
        if (PyType_HasFeature(Py_TYPE(found), Py_TPFLAGS_METHOD_DESCRIPTOR)) {
            *cache = (InlineMethod){type->tp_version_tag, 0, type->tp_dictoffset, 0, found};
        } else if (Py_IS_TYPE(found, &PyStaticMethod_Type)) {
            PyObject *function = Py_TYPE(found)->tp_descr_get(found, NULL, (PyObject *)type);
            if (function == NULL) return NULL;
            Py_DECREF(function); /* the static method keeps it */
            *cache = (InlineMethod){type->tp_version_tag, 1, type->tp_dictoffset, 0, function};
        } else if (Py_IS_TYPE(found, &PyMemberDescr_Type)) {
            struct PyMemberDef *member = ((PyMemberDescrObject *)found)->d_member;
            if (member->type == T_OBJECT_EX && !(member->flags & READ_RESTRICTED))
                *cache = (InlineMethod){type->tp_version_tag, 1, 0, member->offset};
        }
    }
    return PyObject_VectorcallMethod(name, args, count, keywords);
}

static inline PyObject *Inline_Method(
    PyObject *name, PyObject *const *args, size_t count, PyObject *keywords, InlineMethod *cache) {
    if (unlikely(Py_TYPE(args[0])->tp_version_tag != cache->version || Inline_HasOwn(args[0], cache->dict)))
        return Inline_FindMethod(name, args, count, keywords, cache);
    PyObject *method = cache->slot == 0 ? cache->method : *(PyObject **)((char *)args[0] + cache->slot);
    if (unlikely(method == NULL)) return Inline_FindMethod(name, args, count, keywords, cache);
    Py_INCREF(method);
    if (cache->without) {
        args += 1;
        count -= 1;
    } else {
        count &= ~PY_VECTORCALL_ARGUMENTS_OFFSET;
    }
    PyObject *result = PyObject_Vectorcall(method, args, count, keywords);
    Py_DECREF(method);
    return result;
}

#define Inline_CallMethod(name, args, count, keywords) \
    ({ static InlineMethod cache = {INLINE_NONE}; Inline_Method((name), (args), (count), (keywords), &cache); })

#else

#define Inline_GetAttr(obj, name) PyObject_GetAttr((obj), (name))
#define Inline_CallMethod(name, args, count, keywords) PyObject_VectorcallMethod((name), (args), (count), (keywords))
#define Inline_GetGlobal(globals, name) CPyDict_GetItem((globals), (name))
#define Inline_SetAttr(obj, name, value) PyObject_SetAttr((obj), (name), (value))

#endif

/* What leads here is an error: such code is moved out of the way, so that what runs stands together in the caches. */
#define WEIR_COLD __attribute__((cold))
WEIR_COLD void CPy_AddTraceback(const char *, const char *, int, PyObject *);
WEIR_COLD void CPy_TypeError(const char *, PyObject *);
WEIR_COLD void CPy_TypeErrorTraceback(const char *, const char *, int, PyObject *, const char *, PyObject *);
WEIR_COLD void CPy_AttributeError(const char *, const char *, const char *, const char *, int, PyObject *);
WEIR_COLD static void CPy_DecRef(PyObject *);
WEIR_COLD void CPyTagged_DecRef(CPyTagged);
WEIR_COLD void CPyError_OutOfMemory(void);
WEIR_COLD void PyErr_SetString(PyObject *, const char *);
