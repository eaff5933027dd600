/* As much of a HIP runtime as has a table to be compared with: two functions that are wrapped and one that nobody knows. */
int hipMalloc(void **place, unsigned long bytes);
int hipFree(void *place);
int hipNewIn99(void);
int cuInit(unsigned flags);

int hipMalloc(void **place, unsigned long bytes)
{
    (void)bytes;
    *place = 0;
    return 2;
}

int hipFree(void *place)
{
    (void)place;
    return 0;
}

int hipNewIn99(void)
{
    return 0;
}

/* Another vendor's. */
int cuInit(unsigned flags)
{
    (void)flags;
    return 0;
}
