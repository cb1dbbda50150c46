/* Looks names up with the C library it is linked with: one line for each, its addresses in order of arrival, or the error. */
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

int main(int argc, char **argv)
{
    int failed = 0;
    for (int i = 1; i < argc; i++) {
        struct addrinfo hints, *found = NULL;
        memset(&hints, 0, sizeof hints);
        hints.ai_family = AF_UNSPEC;
        hints.ai_socktype = SOCK_STREAM;
        int error = getaddrinfo(argv[i], NULL, &hints, &found);
        if (error) {
            printf("%s: %s\n", argv[i], gai_strerror(error));
            failed = 1;
            continue;
        }
        printf("%s:", argv[i]);
        for (struct addrinfo *a = found; a; a = a->ai_next) {
            char text[INET6_ADDRSTRLEN];
            const void *raw = a->ai_family == AF_INET6 ? (void *)&((struct sockaddr_in6 *)a->ai_addr)->sin6_addr
                                                       : (void *)&((struct sockaddr_in *)a->ai_addr)->sin_addr;
            printf(" %s", inet_ntop(a->ai_family, raw, text, sizeof text));
        }
        printf("\n");
        freeaddrinfo(found);
    }
    return failed;
}
